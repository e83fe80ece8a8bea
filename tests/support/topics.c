/* Deleting topics, and writing to them in transactions. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <librdkafka/rdkafka.h>
#include "topics.h"

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static bool exists(rd_kafka_t *rk, const char *topic)
{
    const struct rd_kafka_metadata *md = NULL;
    bool found = false;
    if (rd_kafka_metadata(rk, 1, NULL, &md, 5000))
        return true;
    for (int i = 0; i < md->topic_cnt; i++)
        found = found || strcmp(md->topics[i].topic, topic) == 0;
    rd_kafka_metadata_destroy(md);
    return found;
}

static void kafka_delete(const char *brokers, const char *topic)
{
    char text[200];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text), RD_KAFKA_CONF_OK);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    assert_non_null(rk);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteTopic_t *wanted = rd_kafka_DeleteTopic_new(topic);
    rd_kafka_DeleteTopics(rk, &wanted, 1, NULL, queue);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(queue, 20000);
    assert_non_null(ev);
    assert_int_equal(rd_kafka_event_error(ev), RD_KAFKA_RESP_ERR_NO_ERROR);
    for (int i = 0; i < 200 && exists(rk, topic); i++)
        (void)usleep(50000);
    assert_false(exists(rk, topic));
    rd_kafka_event_destroy(ev);
    rd_kafka_DeleteTopic_destroy(wanted);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
}

void topic_delete(const char *brokers, const char *topic)
{
    char path[500];
    if (strncmp(brokers, "local:", 6) != 0) {
        kafka_delete(brokers, topic);
        return;
    }
    (void)snprintf(path, sizeof path, "%s/%s", brokers + 6, topic);
    assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void no_error(rd_kafka_error_t *error)
{
    if (error)
        fail_msg("%s", rd_kafka_error_string(error));
}

void topic_transact(const char *brokers, const char *topic, int partition, long long from, int n)
{
    char text[200];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text), RD_KAFKA_CONF_OK);
    assert_int_equal(rd_kafka_conf_set(conf, "transactional.id", topic, text, sizeof text), RD_KAFKA_CONF_OK);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    assert_non_null(rk);
    rd_kafka_topic_t *to = rd_kafka_topic_new(rk, topic, NULL);
    assert_non_null(to);
    no_error(rd_kafka_init_transactions(rk, 30000));
    no_error(rd_kafka_begin_transaction(rk));
    for (int i = 0; i < n; i++) {
        int length = snprintf(text, sizeof text, "%lld", from + i);
        assert_int_equal(rd_kafka_produce(to, partition, RD_KAFKA_MSG_F_COPY, text, (size_t)length, NULL, 0, NULL), 0);
    }
    no_error(rd_kafka_commit_transaction(rk, 30000));
    rd_kafka_topic_destroy(to);
    rd_kafka_destroy(rk);
}
