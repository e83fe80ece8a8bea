/* Datastore profiles as what to connect to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "json/literal.h"
#include "pipeline/connection.h"

/* {"key": base64, …} of pairs, NULL-ended. */
static struct json *values_of(const char *const *pairs)
{
    struct buf object = {0};
    struct json *values = NULL;
    struct err e = {0};
    buf_addc(&object, '{');
    for (; *pairs; pairs += 2) {
        buf_addf(&object, "%s\"%s\":\"", object.len > 1 ? "," : "", pairs[0]);
        base64_add(&object, str_of(pairs[1]));
        buf_addc(&object, '"');
    }
    buf_addc(&object, '}');
    assert_int_equal(connection_values(buf_str(&object), STR(""), &values, &e), OK);
    buf_done(&object);
    return values;
}

static void kafka_as_mlrun_means_it(void **state)
{
    (void)state;
    const struct {
        const char *const *pairs;
        const char *brokers, *extra, *topic;
    } cases[] = {
        {(const char *const[]){"brokers", "localhost:9092", "topics", "[]", NULL}, "localhost:9092",
         "security.protocol=PLAINTEXT", ""},
        {(const char *const[]){"brokers", "['a:1', \"b:2\"]", "topics", "['t', 'u']", NULL}, "a:1,b:2",
         "security.protocol=PLAINTEXT", "t"},
        {(const char *const[]){"brokers", "a:1", "sasl_user", "u;x", "sasl_pass", "p\\;=", NULL}, "a:1",
         "security.protocol=SASL_PLAINTEXT;sasl.mechanism=PLAIN;sasl.username=u\\;x;sasl.password=p\\\\;=", ""},
        {(const char *const[]){
             "brokers", "a:1", "topics", "t", "sasl_user", "u", "sasl_pass", "p", "kwargs_public",
             "{'tls': {'enable': True, 'insecureSkipVerify': False}, 'sasl_mechanism': 'SCRAM-SHA-256'}", NULL},
         "a:1", "security.protocol=SASL_SSL;sasl.mechanism=SCRAM-SHA-256;sasl.username=u;sasl.password=p", "t"},
        {(const char *const[]){"brokers", "a:1", "kwargs_private",
                               "{'sasl_plain_username': 'it\\'s', 'sasl_plain_password': \"x'\"}", "kwargs_public",
                               "{'security_protocol': 'SASL_SSL', 'new_topic': {'num_partitions': 3}}", NULL},
         "a:1", "security.protocol=SASL_SSL;sasl.mechanism=PLAIN;sasl.username=it's;sasl.password=x'", ""},
        {(const char *const[]){"brokers", "[::1]:9092", "kwargs_public", "{'tls_enable': True}", NULL}, "[::1]:9092",
         "security.protocol=SSL", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json *values = values_of(cases[i].pairs);
        struct arena a = {0};
        struct bus_config cfg = {.partitions = 7};
        struct str topic;
        struct err e = {0};
        assert_int_equal(connection_kafka(values, &a, &cfg, &topic, &e), OK);
        assert_string_equal(cfg.brokers, cases[i].brokers);
        assert_string_equal(cfg.extra, cases[i].extra);
        assert_true(str_eqz(topic, cases[i].topic));
        assert_int_equal(cfg.partitions, strstr(cases[i].extra, "it's") ? 3 : 7);
        arena_done(&a);
        json_free(values);
    }
}

static void what_is_no_kafka(void **state)
{
    (void)state;
    static const char *const bad[][5] = {
        {NULL},
        {"brokers", "None"},
        {"brokers", "local:/etc"},
        {"brokers", "[1]"},
        {"brokers", "['a'"},
        {"brokers", "a:b"},
        {"brokers", "a:1", "kwargs_public", "[]"},
        {"brokers", "a:1", "kwargs_private", "{'a': object()}"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct json *values = values_of(bad[i]);
        struct arena a = {0};
        struct bus_config cfg = {0};
        struct str topic;
        struct err e = {0};
        assert_int_equal(connection_kafka(values, &a, &cfg, &topic, &e), E_INVALID);
        assert_null(cfg.brokers);
        arena_done(&a);
        json_free(values);
    }
}

static void postgresql_as_a_url(void **state)
{
    (void)state;
    static const struct {
        const char *const pairs[12];
        const char *url; /* NULL: refused */
    } cases[] = {
        {{"user", "u", "host", "h", "port", "5432", "database", "d", "password", "pw"}, "postgresql://u:pw@h:5432/d"},
        {{"user", "a b", "host", "::1", "port", "1", "password", "p@/:%\xc3\xa9"},
         "postgresql://a%20b:p%40%2F%3A%25%C3%A9@[::1]:1/postgres"},
        {{"user", "u", "host", "h", "port", "5432", "database", "d?sslmode=x"}, "postgresql://u@h:5432/d%3Fsslmode%3Dx"},
        {{"user", "u", "host", "h/x?a=b", "port", "5432"}, NULL},
        {{"user", "u", "host", "h@evil", "port", "5432"}, NULL},
        {{"user", "u", "host", "/run", "port", "5432"}, NULL},
        {{"user", "u", "host", "h", "port", "0"}, NULL},
        {{"user", "u", "host", "h", "port", "5432x"}, NULL},
        {{"host", "h", "port", "5432"}, NULL},
        {{"user", "u", "port", "5432"}, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json *values = values_of(cases[i].pairs);
        struct arena a = {0};
        const char *url = NULL, *place = NULL;
        struct err e = {0};
        rc_t rc = connection_postgres(values, &a, &url, &place, &e);
        assert_int_equal(rc, cases[i].url ? OK : E_INVALID);
        if (cases[i].url)
            assert_string_equal(url, cases[i].url);
        arena_done(&a);
        json_free(values);
    }
}

static void parts_that_are_none(void **state)
{
    (void)state;
    const char *const bad[] = {"x",
                               "[]",
                               "{\"a\":1}",
                               "{\"a\":\"Zg\"}",
                               "{\"a\":\"gICA\"}",
                               "{\"a\":\"AAAA\"}",
                               "{\"a\":\"Zg==\",\"a\":\"Zg==\"}"};
    struct json *values = NULL;
    struct err e = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(connection_values(str_of(bad[i]), STR(""), &values, &e), E_INVALID);
        assert_int_equal(connection_values(STR("{}"), str_of(bad[i]), &values, &e), E_INVALID);
    }
    assert_null(values);
    assert_int_equal(connection_values(STR("{\"a\":\"Tm9uZQ==\",\"b\":\"\"}"), STR("{\"b\":\"eA==\"}"), &values, &e), OK);
    struct str b = {0};
    assert_int_equal(json_len(values), 1);
    assert_int_equal(json_need_str(values, "b", &b, &e), OK);
    assert_true(str_eqz(b, "x"));
    json_free(values);
}

static void literals_as_json(void **state)
{
    (void)state;
    static const struct {
        const char *python, *json; /* NULL: none */
    } cases[] = {
        {"{'a': [1, -2.5, True, False, None], \"b\": 'x\"y'}", "{\"a\":[1,-2.5,true,false,null],\"b\":\"x\\\"y\"}"},
        {"'a\\'b\\\\c\\n\\x41'", "\"a'b\\\\c\\nA\""},
        {"[]", "[]"},
        {"'True'", "\"True\""},
        {"(1,)", NULL},
        {"{1: 2}", NULL},
        {"'a", NULL},
        {"object()", NULL},
        {"'\\U0001f600'", NULL},
        {"", NULL},
        {"'\\", NULL},
        {"'\\x4", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json *j = NULL;
        struct err e = {0};
        struct buf text = {0};
        rc_t rc = json_parse_literal(&j, cases[i].python, strlen(cases[i].python), &e);
        assert_int_equal(rc, cases[i].json ? OK : E_INVALID);
        if (rc == OK)
            json_print(j, JSON_NAN_NULL, &text);
        if (rc == OK)
            assert_string_equal(text.data, cases[i].json);
        json_free(j);
        buf_done(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kafka_as_mlrun_means_it), cmocka_unit_test(what_is_no_kafka),
        cmocka_unit_test(postgresql_as_a_url),     cmocka_unit_test(parts_that_are_none),
        cmocka_unit_test(literals_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
