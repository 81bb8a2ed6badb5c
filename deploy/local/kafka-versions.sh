# shellcheck shell=bash
# The versions of Apache Kafka that local.sh runs, and the differences between them. local.sh sources this file.
#
# Sets kafka_version to KAFKA_VERSION or the default.

supported_versions=(3.9.2 4.0.2 4.3.1 4.4.0)
kafka_version=${KAFKA_VERSION:-4.3.1}

[[ " ${supported_versions[*]} " == *" $kafka_version "* ]] ||
  fail "unknown version of Kafka $kafka_version: allowed are ${supported_versions[*]}"

# Returns whether the version is this one or a later one.
since() { printf '%s\n' "$1" "$kafka_version" | sort -VC; }

# Prints the broker's properties that not every version has.
version_properties() {
  # Share groups have a topic of their own, and are on by default since 4.2.
  if since 4.0; then
    echo "share.coordinator.state.topic.replication.factor=$replication"
    echo "share.coordinator.state.topic.min.isr=$in_sync"
  fi
}

# Prints the class of a command line tool, such as kafka-configs. Classes written in Scala were moved over time.
tool_class() {
  case $1 in
    kafka-acls) if since 4.0; then echo org.apache.kafka.tools.AclCommand; else echo kafka.admin.AclCommand; fi ;;
    kafka-configs) if since 4.4; then echo org.apache.kafka.tools.ConfigCommand; else echo kafka.admin.ConfigCommand; fi ;;
    kafka-consumer-groups) echo org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
    kafka-features) echo org.apache.kafka.tools.FeatureCommand ;;
    kafka-topics) echo org.apache.kafka.tools.TopicCommand ;;
    kafka-transactions) echo org.apache.kafka.tools.TransactionsCommand ;;
    *) fail "unknown tool $1: allowed are kafka-acls, kafka-configs, kafka-consumer-groups, kafka-features, kafka-topics and kafka-transactions" ;;
  esac
}
