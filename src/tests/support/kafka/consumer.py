"""Reads every topic to its end, and knows nothing of it but the AsyncAPI document in the file that is its argument.

Each message is checked against the schemas of the document; what fits is printed, one JSON document a line.
"""

import json
import sys

import jsonschema
from kafka import KafkaConsumer, TopicPartition

with open(sys.argv[1], encoding="utf-8") as file:
    document = json.load(file)


def resolve(node):
    """What a reference within the document leads to."""
    while isinstance(node, dict) and "$ref" in node:
        target = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def fitting(channel, headers, value):
    """The message of a channel that this is, and where several or none fit, an error."""
    fits = []
    for message in map(resolve, channel["messages"].values()):
        try:
            jsonschema.validate(headers, message["headers"])
            jsonschema.validate(value, message["payload"])
        except jsonschema.ValidationError:
            continue
        fits.append(message)
    assert len(fits) == 1, f"{len(fits)} messages of the document fit {headers} {value}"
    return fits[0]


hosts = [server["host"] for server in document["servers"].values() if server["protocol"] == "kafka"]
consumer = KafkaConsumer(bootstrap_servers=hosts, auto_offset_reset="earliest", enable_auto_commit=False)
for name, channel in document["channels"].items():
    parts = [TopicPartition(channel["address"], part) for part in consumer.partitions_for_topic(channel["address"])]
    ends = consumer.end_offsets(parts)
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    while any(consumer.position(part) < ends[part] for part in parts):
        for record in (record for batch in consumer.poll(timeout_ms=500).values() for record in batch):
            headers = {key: value.decode() for key, value in record.headers}
            value = json.loads(record.value)
            message = fitting(channel, headers, value)
            sequence = headers["ce_sequence"] if "ce_sequence" in headers else value["sequence"]
            told = {"channel": name, "key": record.key.decode(), "id": headers["ce_id"], "type": message["title"]}
            print(json.dumps(told | {"sequence": int(sequence)}))
