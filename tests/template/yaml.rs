//! YAML as JSON, with `!Ref x` as `{"!Ref": x}`.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

pub(crate) fn load(text: &str) -> Value {
    let documents = Yaml::load_from_str(text).unwrap();
    let [document] = documents.as_slice() else { panic!("not one document") };
    value(document)
}

fn value(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(it)) => (*it).into(),
        Yaml::Value(Scalar::Integer(it)) => (*it).into(),
        Yaml::Value(Scalar::FloatingPoint(it)) => it.into_inner().into(),
        Yaml::Value(Scalar::String(it)) => it.as_ref().into(),
        Yaml::Sequence(list) => list.iter().map(value).collect(),
        Yaml::Mapping(map) => {
            let entry = |(key, it)| (value(key).as_str().unwrap().to_owned(), value(it));
            Value::Object(map.iter().map(entry).collect::<Map<_, _>>())
        }
        Yaml::Tagged(tag, it) => Value::Object(Map::from_iter([(format!("!{}", tag.suffix), value(it))])),
        // An alias among them: CloudFormation does not know it.
        other => panic!("{other:?}"),
    }
}
