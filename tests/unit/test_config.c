/* Options from the environment, flags and files; all faults at once; what is printed of them. */
#include <sys/stat.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "config/config.h"

struct opts {
    const char *name, *password;
    int64_t port, age_us, room;
    bool on;
    int mode;
    double ratio;
};
struct other {
    char *brokers;
};

static const struct config_value modes[] = {{"closed", 3}, {"mlrun", 5}, {NULL, 0}};
static const struct config_key keys[] = {
    {.env = "T_NAME", .def = "x", .type = CONFIG_STR, .offset = offsetof(struct opts, name), .help = "A name."},
    {.env = "T_PASSWORD", .type = CONFIG_STR, .flags = CONFIG_SECRET, .offset = offsetof(struct opts, password), .help = "A secret."},
    {.env = "T_PORT", .def = "8080", .type = CONFIG_I64, .min = 1, .max = 65535, .offset = offsetof(struct opts, port), .help = "A port."},
    {.env = "T_AGE",
     .def = "1s",
     .type = CONFIG_DURATION,
     .min = 100000,
     .max = 60000000,
     .offset = offsetof(struct opts, age_us),
     .help = "An age | or two."},
    {.env = "T_ROOM",
     .def = "64MiB",
     .type = CONFIG_BYTES,
     .min = 1024,
     .max = INT64_MAX,
     .offset = offsetof(struct opts, room),
     .help = "A size."},
    {.env = "T_ON", .def = "false", .type = CONFIG_BOOL, .offset = offsetof(struct opts, on), .help = "A switch."},
    {.env = "T_MODE", .def = "closed", .type = CONFIG_ENUM, .values = modes, .offset = offsetof(struct opts, mode), .help = "A mode."},
    {.env = "T_RATIO", .def = "0.5", .type = CONFIG_F64, .min = 0, .max = 1, .offset = offsetof(struct opts, ratio), .help = "A ratio."},
};
static const struct config_key other_keys[] = {
    {.env = "T_BROKERS", .type = CONFIG_STR, .flags = CONFIG_REQUIRED, .offset = offsetof(struct other, brokers), .help = "Where Kafka is."},
};
static const struct config_command commands[] = {{"--help", "This."}, {NULL, NULL}};
static const struct config_default defaults[] = {{"T_NAME", "own"}, {NULL, NULL}};

static rc_t check_fit(const void *opts, struct err *e)
{
    const struct opts *o = opts;
    return o->port == 1 && o->ratio == 1 ? err_set(e, E_INVALID, "both at their ends") : OK;
}

struct fixture {
    struct opts o;
    struct other other;
    struct config_table tables[2];
    struct config_spec spec;
    struct config *cfg;
    struct buf text;
};

static int setup(void **state)
{
    static const char *const names[] = {"T_NAME", "T_PASSWORD", "T_PASSWORD_FILE", "T_PORT", "T_AGE",
                                        "T_ROOM", "T_ON",       "T_MODE",          "T_RATIO"};
    struct fixture *f = calloc(1, sizeof *f);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unsetenv(names[i]);
    (void)setenv("T_BROKERS", "k:9092", 1);
    f->tables[0] = CONFIG_TABLE("Test", keys, &f->o);
    f->tables[1] = CONFIG_TABLE("Kafka", other_keys, &f->other);
    f->spec = (struct config_spec){
        .program = "t", .summary = "tests", .tables = f->tables, .table_count = 2, .commands = commands};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    config_free(f->cfg);
    buf_done(&f->text);
    free(f);
    return 0;
}

static rc_t load(struct fixture *f, const char *a, const char *b)
{
    char program[] = "t", one[128] = "", two[128] = "";
    char *argv[] = {program, one, two, NULL};
    (void)snprintf(one, sizeof one, "%s", a ? a : "");
    (void)snprintf(two, sizeof two, "%s", b ? b : "");
    rc_t rc = config_load(&f->cfg, &f->spec, a ? b ? 3 : 2 : 1, argv, &f->text);
    return rc;
}

static void defaults_and_the_environment(void **state)
{
    struct fixture *f = *state;
    (void)setenv("T_AGE", "250ms", 1);
    (void)setenv("T_MODE", "mlrun", 1);
    (void)setenv("T_ON", "True", 1);
    (void)setenv("T_PORT", "", 1); /* empty is not set */
    f->spec.defaults = defaults;
    assert_int_equal(load(f, NULL, NULL), OK);
    assert_string_equal(f->o.name, "own");
    assert_string_equal(f->o.password, "");
    assert_int_equal(f->o.port, 8080);
    assert_int_equal(f->o.age_us, 250000);
    assert_int_equal(f->o.room, 64 << 20);
    assert_true(f->o.on);
    assert_int_equal(f->o.mode, 5);
    assert_true(f->o.ratio == 0.5);
    assert_string_equal(f->other.brokers, "k:9092");
}

static void flags_win(void **state)
{
    struct fixture *f = *state;
    (void)setenv("T_PORT", "9000", 1);
    assert_int_equal(load(f, "--t-port=9001", "--t-on"), OK);
    assert_int_equal(f->o.port, 9001);
    assert_true(f->o.on);
}

static void all_faults_at_once(void **state)
{
    struct fixture *f = *state;
    (void)setenv("T_PORT", "70000", 1);
    (void)setenv("T_AGE", "soon", 1);
    (void)setenv("T_ROOM", "1", 1);
    (void)setenv("T_ON", "maybe", 1);
    (void)setenv("T_MODE", "open", 1);
    (void)setenv("T_RATIO", "1.5", 1);
    (void)setenv("T_BROKERS", "", 1);
    assert_int_equal(load(f, "--t-prot=1", "--t-password=hunter2"), E_INVALID);
    assert_null(f->cfg);
    static const char *const want[] = {
        "--t-prot: no such option; did you mean --t-port?\n",
        "--t-password: a secret is not taken from the command line; set T_PASSWORD or --t-password-file\n",
        "T_PORT: \"70000\" is not a whole number, from 1 to 65535\n",
        "T_AGE: \"soon\" is not a duration such as 250ms, 10s or 5m, from 100ms to 1m\n",
        "T_ROOM: \"1\" is not a size such as 512, 10kB or 64MiB, at least 1KiB\n",
        "T_ON: \"maybe\" is not true or false\n",
        "T_MODE: \"open\" is not one of closed, mlrun\n",
        "T_RATIO: \"1.5\" is not a number, from 0 to 1\n",
        "T_BROKERS: must be set: Where Kafka is.\n",
    };
    size_t length = 0;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        length += strlen(want[i]);
        if (strstr(f->text.data, want[i]) == NULL)
            fail_msg("no \"%s\" in\n%s", want[i], f->text.data);
    }
    assert_int_equal(f->text.len, length); /* and nothing else, no value of a secret */
}

static void other_arguments_are_faults(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load(f, "serve", "--t-name"), E_INVALID);
    assert_string_equal(f->text.data, "serve: not an option; options look like --http-port=8080\n"
                                      "--t-name: has no value; write --t-name=VALUE\n");
    buf_clear(&f->text);
    assert_int_equal(load(f, "--zzzzzzzzzzzzzzz", NULL), E_INVALID);
    assert_string_equal(f->text.data, "--zzzzzzzzzzzzzzz: no such option; --help lists them\n");
}

static void write_secret(const char *path, const char *text, size_t n, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void secrets_come_from_files(void **state)
{
    struct fixture *f = *state;
    char path[] = "/tmp/test-config-XXXXXX";
    (void)close(mkstemp(path));
    write_secret(path, "hunter2\n", 8, 0440);
    (void)setenv("T_PASSWORD_FILE", path, 1);
    assert_int_equal(load(f, NULL, NULL), OK);
    assert_string_equal(f->o.password, "hunter2");
    config_print(f->cfg, &f->text);
    assert_non_null(strstr(f->text.data, "T_PASSWORD=***\n"));
    assert_null(strstr(f->text.data, "hunter2"));
    assert_non_null(strstr(f->text.data, "T_NAME=x  # default\n"));
    config_free(f->cfg);
    f->cfg = NULL;
    static const struct {
        mode_t mode;
        const char *text, *words;
        size_t n;
    } bad[] = {
        {0444, "hunter2", "may be read", 7}, {0640, "a\0b", "NUL", 3}, {0660, "hunter2", "may be read or changed", 7}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        buf_clear(&f->text);
        assert_int_equal(chmod(path, 0600), 0);
        write_secret(path, bad[i].text, bad[i].n, bad[i].mode);
        assert_int_equal(load(f, NULL, NULL), E_INVALID);
        assert_non_null(strstr(f->text.data, bad[i].words));
        assert_null(strstr(f->text.data, "hunter2"));
    }
    assert_int_equal(unlink(path), 0);
    buf_clear(&f->text);
    assert_int_equal(load(f, NULL, NULL), E_INVALID);
    assert_non_null(strstr(f->text.data, "T_PASSWORD_FILE: "));
    assert_non_null(strstr(f->text.data, "No such file"));
    buf_clear(&f->text);
    (void)setenv("T_PASSWORD", "a", 1);
    assert_int_equal(load(f, NULL, NULL), E_INVALID);
    assert_non_null(strstr(f->text.data, "set one of them"));
}

static void a_wrong_secret_is_not_shown(void **state)
{
    struct fixture *f = *state;
    static const struct config_key secret_mode[] = {
        {.env = "T_MODE",
         .def = "closed",
         .type = CONFIG_ENUM,
         .values = modes,
         .flags = CONFIG_SECRET,
         .offset = offsetof(struct opts, mode),
         .help = "x"},
    };
    f->tables[0] = CONFIG_TABLE("Test", secret_mode, &f->o);
    (void)setenv("T_MODE", "hunter2", 1);
    assert_int_equal(load(f, NULL, NULL), E_INVALID);
    assert_string_equal(f->text.data, "T_MODE: \"***\" is not one of closed, mlrun\n");
}

static void the_reference_comes_from_the_keys(void **state)
{
    struct fixture *f = *state;
    f->spec.defaults = defaults;
    config_help(&f->spec, &f->text);
    assert_non_null(strstr(f->text.data, "\nTest\n  T_NAME      A name. [own]\n"));
    assert_non_null(strstr(f->text.data, "  T_AGE       An age | or two. From 100ms to 1m. [1s]\n"));
    assert_non_null(strstr(f->text.data, "  T_MODE      A mode. One of closed, mlrun. [closed]\n"));
    assert_non_null(strstr(f->text.data, "  T_BROKERS   Where Kafka is. Required.\n"));
    assert_non_null(
        strstr(f->text.data, "  T_PASSWORD  A secret. Secret: T_PASSWORD_FILE names a file that holds it.\n"));
    assert_non_null(strstr(f->text.data, "  --help      This.\n"));
    buf_clear(&f->text);
    config_markdown(&f->spec, &f->text);
    assert_non_null(strstr(
        f->text.data, "**Test**\n\n| variable | default | meaning |\n|---|---|---|\n| `T_NAME` | `own` | A name. |\n"));
    assert_non_null(strstr(f->text.data, "| `T_AGE` | `1s` | An age \\| or two. From 100ms to 1m. |\n"));
    assert_non_null(strstr(f->text.data, "| `T_BROKERS` | | Where Kafka is. Required. |\n"));
    char program[] = "t", help[] = "--help", wrong[] = "--nonsense=1";
    char *argv[] = {program, wrong, help, NULL};
    assert_string_equal(config_command(&f->spec, 3, argv), "--help");
    assert_null(config_command(&f->spec, 2, argv));
}

static void a_value_apart_is_one_fault(void **state)
{
    static const struct {
        const char *a, *b, *want;
    } cases[] = {
        {"--t-port", "abc", "--t-port: has no value; write --t-port=VALUE\n"},
        {"--t-password", "hunter2",
         "--t-password: a secret is not taken from the command line; set T_PASSWORD or --t-password-file\n"},
        {"--t-password-file", "/x", "--t-password-file: has no value; write --t-password-file=VALUE\n"},
        {"--t-prot", "1", "--t-prot: no such option; did you mean --t-port?\n"},
        {"--t-on", "yes", "yes: not an option; options look like --http-port=8080\n"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&f->text);
        assert_int_equal(load(f, cases[i].a, cases[i].b), E_INVALID);
        assert_string_equal(f->text.data, cases[i].want);
    }
}

static void a_number_may_begin_with_its_point(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load(f, "--t-ratio=.25", "--t-brokers=b"), OK);
    assert_true(f->o.ratio == 0.25);
    config_free(f->cfg);
    f->cfg = NULL;
    assert_int_equal(load(f, "--t-ratio=.", "--t-brokers=b"), E_INVALID);
}

static void only_near_names_are_suggested(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load(f, "--foo=1", "--x=1"), E_INVALID);
    assert_string_equal(f->text.data, "--foo: no such option; --help lists them\n"
                                      "--x: no such option; --help lists them\n");
    buf_clear(&f->text);
    assert_int_equal(load(f, "--t-pass=1", "--t-brokres=1"), E_INVALID);
    assert_string_equal(f->text.data, "--t-pass: no such option; did you mean --t-password?\n"
                                      "--t-brokres: no such option; did you mean --t-brokers?\n");
}

static void help_has_a_short_name(void **state)
{
    struct fixture *f = *state;
    char program[] = "t", h[] = "-h";
    char *argv[] = {program, h, NULL};
    assert_string_equal(config_command(&f->spec, 2, argv), "--help");
    assert_int_equal(load(f, "-h", NULL), OK);
}

static void a_name_in_two_tables_is_one_option(void **state)
{
    struct fixture *f = *state;
    struct opts again = {0};
    struct config *cfg = NULL;
    const struct config_table tables[] = {f->tables[0], f->tables[1], CONFIG_TABLE("Again", keys, &again)};
    f->spec.tables = tables;
    f->spec.table_count = 3;
    char program[] = "t", port[] = "--t-port=99", *argv[] = {program, port, NULL};
    assert_int_equal(setenv("T_BROKERS", "k:9092", 1), 0);
    assert_int_equal(config_load(&cfg, &f->spec, 2, argv, &f->text), OK);
    assert_int_equal(f->o.port, 99);
    assert_int_equal(again.port, 99);
    assert_ptr_equal(again.name, f->o.name);
    config_print(cfg, &f->text);
    assert_null(strstr(strstr(f->text.data, "T_PORT") + 1, "T_PORT"));
    config_free(cfg);
    buf_clear(&f->text);
    config_help(&f->spec, &f->text);
    assert_null(strstr(f->text.data, "Again"));
    char wrong[] = "--t-port=99999", *bad[] = {program, wrong, NULL};
    buf_clear(&f->text);
    assert_int_equal(config_load(&cfg, &f->spec, 2, bad, &f->text), E_INVALID);
    assert_string_equal(f->text.data, "T_PORT: \"99999\" is not a whole number, from 1 to 65535\n");
    assert_int_equal(unsetenv("T_BROKERS"), 0);
}

static void a_flag_of_a_command_is_not_in_the_environment(void **state)
{
    struct fixture *f = *state;
    static const struct config_key own[] = {
        {.env = "T_SPEED", .def = "1", .type = CONFIG_F64, .flags = CONFIG_FLAG, .help = "How fast."}};
    double speed = 0;
    const struct config_table table = CONFIG_TABLE("Options", own, &speed);
    const struct config_spec spec = {.program = "t", .tables = &table, .table_count = 1};
    struct config *cfg = NULL;
    char program[] = "t", *argv[] = {program, NULL};
    assert_int_equal(setenv("T_SPEED", "7", 1), 0);
    assert_int_equal(config_load(&cfg, &spec, 1, argv, &f->text), OK);
    assert_true(speed > 0.99 && speed < 1.01);
    assert_int_equal(unsetenv("T_SPEED"), 0);
    config_free(cfg);
    config_help_flags(&spec, &f->text);
    assert_string_equal(f->text.data, "  --t-speed VALUE         How fast. [1]\n");
}

static void rules_are_judged_with_the_rest(void **state)
{
    struct fixture *f = *state;
    const struct config_rule rules[] = {{{"T_PORT", "T_RATIO"}, check_fit, &f->o}};
    f->spec.rules = rules;
    f->spec.rule_count = 1;
    (void)setenv("T_PORT", "1", 1);
    (void)setenv("T_RATIO", "1", 1);
    assert_int_equal(load(f, "--t-age=soon", NULL), E_INVALID);
    assert_string_equal(f->text.data, "T_AGE: \"soon\" is not a duration such as 250ms, 10s or 5m, from 100ms to 1m\n"
                                      "T_PORT, T_RATIO: both at their ends\n");
    buf_clear(&f->text);
    assert_int_equal(load(f, "--t-port=0", NULL), E_INVALID); /* wrong by itself: whether it fits is not known */
    assert_null(strstr(f->text.data, "T_RATIO"));
    buf_clear(&f->text);
    assert_int_equal(load(f, "--t-port=2", NULL), OK);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(defaults_and_the_environment),
        CASE(flags_win),
        CASE(all_faults_at_once),
        CASE(other_arguments_are_faults),
        CASE(secrets_come_from_files),
        CASE(a_wrong_secret_is_not_shown),
        CASE(a_value_apart_is_one_fault),
        CASE(a_number_may_begin_with_its_point),
        CASE(only_near_names_are_suggested),
        CASE(help_has_a_short_name),
        CASE(the_reference_comes_from_the_keys),
        CASE(rules_are_judged_with_the_rest),
        CASE(a_name_in_two_tables_is_one_option),
        CASE(a_flag_of_a_command_is_not_in_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
