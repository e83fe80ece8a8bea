/* DATABASE_URL, REDIS_URL and KAFKA_BROKERS: what can never work is a wrong configuration, all of it told at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bus/bus.h"
#include "cache/cache.h"
#include "db/db.h"

struct target {
    struct db_config db;
    struct cache_config cache;
    struct bus_config bus;
};

static rc_t load(struct buf *faults)
{
    struct target t;
    const struct config_table tables[] = {{"Database", db_keys, db_keys_n, &t.db},
                                          {"Cache", cache_keys, cache_keys_n, &t.cache},
                                          {"Kafka", bus_keys, bus_keys_n, &t.bus}};
    const struct config_spec spec = {.program = "test", .tables = tables, .table_count = 3};
    struct config *cfg = NULL;
    char name[] = "test", *argv[] = {name, NULL};
    rc_t rc = config_load(&cfg, &spec, 1, argv, faults);
    config_free(cfg);
    return rc;
}

struct row {
    const char *env, *text, *words; /* words NULL: it is right */
};

static const struct row rows[] = {
    {"DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/modelmon", NULL},
    {"DATABASE_URL", "postgres://u:p%40x@db.example/m?sslmode=verify-full&options=-c%20lock_timeout%3D20s", NULL},
    {"DATABASE_URL", "postgresql://a:5432,b:5433/m?target_session_attrs=read-write", NULL},
    {"DATABASE_URL", "postgresql:///m?host=/run/postgresql", NULL},
    {"DATABASE_URL", "host=db port=5432 dbname=m", NULL},
    {"DATABASE_URL", "sqlite:///var/lib/m.db", NULL},
    {"DATABASE_URL", "nonsense", "names no database"},
    {"DATABASE_URL", "mysql://s3cret@db/m", "names no database"},
    {"DATABASE_URL", "postgresql://u:s3cret@db/m?sslmode=garbage", "sslmode is none of: disable allow"},
    {"DATABASE_URL", "postgresql://u:s3cret@db/m?target_session_attrs=any%20", "target_session_attrs is none of"},
    {"DATABASE_URL", "postgresql://u:s3cret@db/m?nosuch=1", "not a connection string"},
    {"DATABASE_URL", "postgresql://u:s3cret@db:99999/m", "port"},
    {"DATABASE_URL", "postgresql://u:s3cret@db:0/m", "port"},
    {"DATABASE_URL", "postgresql://u:s3cret@a:1,b:x/m", "port"},
    {"DATABASE_URL", "postgresql://u:s3cret@:5432/m", "no host"},
    {"DATABASE_URL", "postgresql:///m", "no host"},
    {"DATABASE_URL", "dbname=m password=s3cret", "no host"},
    {"DATABASE_URL", "sqlite://relative.db", "absolute path"},
    {"REDIS_URL", "redis://127.0.0.1:6379/3", NULL},
    {"REDIS_URL", "redis://u:s3cret@redis", NULL},
    {"REDIS_URL", "redis://[::1]:6379", NULL},
    {"REDIS_URL", "memory:", NULL},
    {"REDIS_URL", "http://redis:6379", "names no cache"},
    {"REDIS_URL", "rediss://u:s3cret@redis", "TLS"},
    {"REDIS_URL", "redis://:6379", "redis://["},
    {"REDIS_URL", "redis://u:s3cret@redis:66000", "redis://["},
    {"REDIS_URL", "redis://u:s3cret@redis:x", "redis://["},
    {"REDIS_URL", "redis://redis/x", "redis://["},
    {"KAFKA_BROKERS", "kafka", NULL},
    {"KAFKA_BROKERS", "a:9092, b:9093", NULL},
    {"KAFKA_BROKERS", "SASL_SSL://a:9092,[::1]:9092", NULL},
    {"KAFKA_BROKERS", "local:/var/lib/log", NULL},
    {"KAFKA_BROKERS", "local:relative", "local:/path"},
    {"KAFKA_BROKERS", "http://a:9092", "plaintext://"},
    {"KAFKA_BROKERS", "a:9092,b:0", "\"b:0\": its port"},
    {"KAFKA_BROKERS", "a:port", "its port"},
    {"KAFKA_BROKERS", "a:9092:9092", "its port"},
    {"KAFKA_BROKERS", ":9092", "no host"},
    {"KAFKA_BROKERS", "a:9092,,b", "no host"},
    {"KAFKA_BROKERS", "[]:9092", "no host"},
    {"KAFKA_BROKERS", "[::1:9092", "']'"},
    {"KAFKA_BROKERS", "::1", "no host"},
};

static void set_none(void)
{
    static const char *const names[] = {"DATABASE_URL", "REDIS_URL", "KAFKA_BROKERS", "PGHOST", "PGSERVICE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unsetenv(names[i]);
}

static void each_is_judged_at_the_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf faults = {0};
        set_none();
        assert_int_equal(setenv(rows[i].env, rows[i].text, 1), 0);
        rc_t rc = load(&faults);
        const char *told = faults.len ? faults.data : "";
        if (rc != (rows[i].words ? E_INVALID : OK) || (rows[i].words && !strstr(told, rows[i].words)))
            fail_msg("%s=%s: %s", rows[i].env, rows[i].text, told);
        assert_null(strstr(told, "s3cret"));
        if (rows[i].words)
            assert_memory_equal(told, rows[i].env, strlen(rows[i].env));
        buf_done(&faults);
    }
    set_none();
}

static void all_of_them_at_once(void **state)
{
    (void)state;
    struct buf faults = {0};
    (void)setenv("DATABASE_URL", "mysql://db", 1);
    (void)setenv("REDIS_URL", "redis://", 1);
    (void)setenv("KAFKA_BROKERS", "a:b", 1);
    assert_int_equal(load(&faults), E_INVALID);
    assert_non_null(strstr(faults.data, "DATABASE_URL: "));
    assert_non_null(strstr(faults.data, "REDIS_URL: "));
    assert_non_null(strstr(faults.data, "KAFKA_BROKERS: "));
    buf_done(&faults);
    set_none();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_is_judged_at_the_start), cmocka_unit_test(all_of_them_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
