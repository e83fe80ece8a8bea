/* Request and response logged apart: the CloudEvents of KServe's inference logger.
 *
 *   type …inference.request,  id X, data {instances|inputs}      ─┐
 *   type …inference.response, id X, data {predictions|outputs}   ─┴▶ one prediction
 * Each half is a record of its own on the project's topic, in CloudEvents' structured form; both have the same key (the
 * uid made of service, namespace, component and endpoint), so they meet in one partition.
 * Of the attributes: inferenceservicename is the model (with -COMPONENT when that is not the predictor, and -ENDPOINT when
 * that is not the default one: they are endpoints of their own), namespace the function, time when it happened.
 * Pure, as inference.h. */
#pragma once
#include "event/inference.h"

/* The two halves, whole records that inference_decode takes, as one prediction: latency from their times. */
rc_t cloudevent_pair(struct inference_decoder *d, struct str request, struct str response, struct inference_event *ret,
                     struct reject *why) MUST_CHECK;

/* Binary mode: attributes came as headers ce-NAME, percent-encoded; an attribute that was not sent is empty. */
struct cloudevent_attributes {
    struct str specversion, id, source, type, time, inferenceservicename, namespace, component, endpoint, traceparent;
};
/* Writes the structured form. Returns where the body stands in it. */
size_t cloudevent_wrap(const struct cloudevent_attributes *attributes, struct str body, struct buf *out);
