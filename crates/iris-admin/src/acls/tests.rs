use iris_contract::Topics;
use iris_contract::rights::Names;
use iris_kafka::{KafkaSettings, SecurityProtocol};

use super::*;

fn settings() -> Settings {
    Settings {
        kafka: KafkaSettings::default(),
        topics: Topics::default(),
        registry: iris_registry::RegistrySettings::default(),
        service: iris_service::ServiceSettings::default(),
        telemetry: iris_service::TelemetrySettings::default(),
        first_model: crate::settings::FirstModelSettings::default(),
        names: Names::default(),
    }
}

fn grants_of(roles: &[Role], principal: Option<&str>) -> Vec<Grant> {
    let args = AclsArgs {
        roles: roles.to_vec(),
        principal: principal.map(str::to_owned),
        format: AclsFormat::Json,
    };
    grants(&args, &settings())
}

#[test]
fn every_right_of_every_role_is_a_command() {
    let text = kafka_acls::render(&grants_of(&[], None), &KafkaSettings::default());
    insta::assert_snapshot!("kafka_acls", text);
}

#[test]
fn with_a_login_the_commands_need_one_too() {
    let mut kafka = KafkaSettings::default();
    kafka.security.protocol = SecurityProtocol::SaslSsl;
    let text = kafka_acls::render(&grants_of(&[Role::Producer], Some("User:a b")), &kafka);
    assert_eq!(
        text,
        "# producer: sends the records\nkafka-acls.sh --bootstrap-server localhost:9092 --command-config admin.properties \
         --add --allow-principal 'User:a b' --operation Write --topic iris_demo2_topic\n"
    );
}

#[test]
fn every_user_is_a_resource_of_strimzi() {
    insta::assert_snapshot!("strimzi", strimzi::render(&grants_of(&[], None)));
}

#[test]
fn json_has_the_purpose_of_each_right() {
    let grants = grants_of(&[Role::FeedbackSink], Some("User:sink"));
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&grants).unwrap());
}
