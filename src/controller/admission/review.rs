//! What an API server asks before it stores an object, and the answer: an AdmissionReview of admission.k8s.io/v1.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::model::finding::Finding;
use crate::model::kind::API_VERSION;
use crate::render::inert;
use crate::source::cluster::object::{Object, REQUESTED_AT};
use crate::source::cluster::sort::Sort;

/// The form of it that is spoken.
const REVIEW_VERSION: &str = "admission.k8s.io/v1";
const REVIEW_KIND: &str = "AdmissionReview";

/// How much is told: API servers cut warnings off that are longer, and leave out those beyond 4096 bytes.
const TOLD_MAX: usize = 10;
const WARNING_BYTES_MAX: usize = 255;
const WARNINGS_BYTES_MAX: usize = 4_000;

/// The longest line of a refusal, in bytes.
const LINE_BYTES_MAX: usize = 1_000;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the answer has to name.
    pub uid: String,
    /// What sort of object it is, where it is one of Argus.
    pub sort: Option<Sort>,
    /// The namespace.
    pub namespace: String,
    /// What is to be done.
    pub change: Change,
}

/// What is to be done with an object.
#[derive(Clone, Debug)]
pub enum Change {
    /// It comes.
    Create(Box<Object>),
    /// It becomes another.
    Update(Box<(Object, Object)>),
    /// It goes.
    Delete(Box<Object>),
    /// Something else, or something of it that says nothing of organizations.
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    request: Asked,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    uid: String,
    kind: GroupKind,
    #[serde(default)]
    sub_resource: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    operation: String,
    #[serde(default)]
    object: Option<Written>,
    #[serde(default)]
    old_object: Option<Written>,
}

#[derive(Deserialize)]
struct GroupKind {
    group: String,
    version: String,
    kind: String,
}

/// An object that may not have its name yet.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    metadata: Named,
    #[serde(flatten)]
    object: serde_json::Map<String, Json>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Named {
    generate_name: Option<String>,
    #[serde(flatten)]
    metadata: serde_json::Map<String, Json>,
}

impl Written {
    /// The object, as it is kept. When a look was asked for is of no interest.
    fn object(self) -> Option<Object> {
        let Written { metadata: Named { generate_name, mut metadata }, mut object } = self;
        let is_named = metadata.get("name").and_then(Json::as_str).is_some_and(|name| !name.is_empty());
        if let Some(head) = generate_name.filter(|_| !is_named) {
            // What follows is drawn when it is stored.
            metadata.insert("name".into(), json!(format!("{head}00000")));
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Json::as_object_mut) {
            annotations.remove(REQUESTED_AT);
        }
        object.insert("metadata".into(), Json::Object(metadata));
        object.remove("status");
        let object: Object = serde_json::from_value(Json::Object(object)).ok()?;
        (!object.metadata.name.is_empty()).then_some(object)
    }
}

impl Request {
    /// Reads what was asked; none where it is no review, or one without the objects that belong to it.
    pub fn read(bytes: &[u8]) -> Option<Request> {
        let Review { api_version, kind, request } = serde_json::from_slice(bytes).ok()?;
        if api_version != REVIEW_VERSION || kind != REVIEW_KIND {
            return None;
        }
        let Asked { uid, kind, sub_resource, namespace, operation, object, old_object } = request;
        let is_ours = format!("{}/{}", kind.group, kind.version) == API_VERSION;
        let sort = Sort::named(&kind.kind).filter(|_| is_ours);
        let namespace = namespace.unwrap_or_default();
        let other = Request { uid, sort, namespace, change: Change::Other };
        if sort.is_none() || sub_resource.is_some_and(|name| !name.is_empty()) {
            return Some(other);
        }
        let change = match operation.as_str() {
            "CREATE" => Change::Create(Box::new(object?.object()?)),
            "UPDATE" => Change::Update(Box::new((old_object?.object()?, object?.object()?))),
            "DELETE" => Change::Delete(Box::new(old_object?.object()?)),
            _ => Change::Other,
        };
        Some(Request { change, ..other })
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It may be stored.
    Allowed(Vec<String>),
    /// It may not.
    Refused(Vec<Finding>),
    /// Nobody can tell, and so it may not.
    Failed(Finding),
}

impl Answer {
    /// The review that says so.
    pub fn review(&self, uid: &str) -> String {
        let mut response = json!({ "uid": uid, "allowed": matches!(self, Answer::Allowed(_)) });
        let refuse = |code: u16, reason: &str, message: String| json!({ "status": "Failure", "code": code, "reason": reason, "message": message });
        match self {
            Answer::Allowed(warnings) if warnings.is_empty() => {}
            Answer::Allowed(warnings) => response["warnings"] = json!(told(warnings)),
            Answer::Refused(findings) => response["status"] = refuse(422, "Invalid", refusal(findings)),
            Answer::Failed(finding) => {
                response["status"] = refuse(503, "ServiceUnavailable", refusal(std::slice::from_ref(finding)));
            }
        }
        json!({ "apiVersion": REVIEW_VERSION, "kind": REVIEW_KIND, "response": response }).to_string()
    }
}

/// A finding as a warning.
pub fn warning(finding: &Finding) -> String {
    format!("{}: {}", finding.code, finding.said())
}

/// As many warnings as API servers pass on, each as long as they do.
fn told(warnings: &[String]) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mut bytes = 0;
    for warning in warnings {
        let warning = cut(&inert::line(warning), WARNING_BYTES_MAX);
        if told.contains(&warning) {
            continue;
        }
        bytes += warning.len() + 64;
        let left = warnings.len() - told.len();
        if (told.len() + 1 >= TOLD_MAX && left > 1) || bytes > WARNINGS_BYTES_MAX - 128 {
            told.push(format!("and {left} more; `kubectl describe` and `argus plan` tell all"));
            break;
        }
        told.push(warning);
    }
    told
}

/// Why something is refused, a line each.
fn refusal(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let hint = finding.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
        cut(&inert::line(&format!("{}: {}{hint}", finding.code, finding.said())), LINE_BYTES_MAX)
    };
    let mut lines: Vec<String> = findings.iter().take(TOLD_MAX).map(line).collect();
    if findings.len() > TOLD_MAX {
        lines.push(format!("and {} more", findings.len() - TOLD_MAX));
    }
    lines.join("\n")
}

/// The beginning of a text, with a mark where that is not all.
fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut end = bytes_max - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::code::Code;

    fn review(change: Json) -> Option<Request> {
        let mut request = json!({ "uid": "1", "kind": { "group": "argus.io", "version": "v1alpha1", "kind": "Team" },
            "namespace": "team-a", "operation": "CREATE", "dryRun": false, "options": { "kind": "CreateOptions" } });
        for (key, value) in change.as_object().expect("a mapping") {
            request[key] = value.clone();
        }
        let review = json!({ "apiVersion": REVIEW_VERSION, "kind": REVIEW_KIND, "request": request });
        Request::read(review.to_string().as_bytes())
    }

    #[test]
    fn what_is_asked_is_read_with_a_name_for_what_has_none_yet() {
        let object = json!({ "metadata": { "generateName": "core-", "annotations": { REQUESTED_AT: "now" } },
            "spec": { "organization": "acme" }, "status": { "conditions": [] } });
        let request = review(json!({ "object": object })).expect("a review");
        let Change::Create(object) = request.change else { panic!("{request:?}") };
        assert_eq!((&*object.metadata.name, object.metadata.annotations.len()), ("core-00000", 0));
        assert!(object.status.is_none() && object.spec.is_some());
        for other in [
            json!({ "object": object_of("a"), "subResource": "status", "operation": "UPDATE" }),
            json!({ "operation": "CONNECT" }),
            json!({ "kind": { "group": "apps", "version": "v1", "kind": "Team" } }),
            json!({ "kind": { "group": "argus.io", "version": "v1alpha1", "kind": "GitSources" } }),
        ] {
            let request = review(other.clone()).expect("a review");
            assert!(matches!(request.change, Change::Other), "{other}");
        }
    }

    fn object_of(name: &str) -> Json {
        json!({ "metadata": { "name": name }, "spec": {} })
    }

    #[test]
    fn what_is_no_review_is_not_read() {
        for broken in [
            json!({ "operation": "UPDATE", "object": object_of("a") }),
            json!({ "operation": "DELETE" }),
            json!({ "object": { "metadata": {}, "spec": {} } }),
            json!({ "object": "core" }),
            json!({ "uid": 1 }),
        ] {
            assert!(review(broken.clone()).is_none(), "{broken}");
        }
        for text in ["", "{}", "[]", r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}"#] {
            assert!(Request::read(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn warnings_are_few_short_and_on_one_line_each() {
        let many: Vec<String> = (0..30).map(|number| format!("{number}\u{1b}[31m\n{}", "ä".repeat(400))).collect();
        let answer: Json = serde_json::from_str(&Answer::Allowed(many).review("7")).expect("JSON");
        assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("7"), &json!(true)));
        let warnings = answer["response"]["warnings"].as_array().expect("warnings");
        assert_eq!(warnings.len(), TOLD_MAX);
        assert!(warnings[9].as_str().is_some_and(|last| last.starts_with("and 21 more")), "{warnings:?}");
        let texts = || warnings.iter().filter_map(Json::as_str);
        assert!(texts().all(|text| text.len() < 256 && !text.contains(char::is_control)));
        assert!(texts().map(str::len).sum::<usize>() < 4_096);
    }

    #[test]
    fn a_refusal_tells_code_message_and_hint_of_ten_at_most() {
        let finding =
            |number: usize| Finding::error(Code::PolicyDenied, format!("no {number}")).hint("ask security\u{7}");
        let answer = Answer::Refused((0..12).map(finding).collect()).review("7");
        let answer: Json = serde_json::from_str(&answer).expect("JSON");
        let status = &answer["response"]["status"];
        assert_eq!((&answer["response"]["allowed"], &status["code"]), (&json!(false), &json!(422)));
        let message = status["message"].as_str().expect("a message");
        assert!(message.starts_with("ARG3101: no 0; ask security") && message.ends_with("\nand 2 more"), "{message}");
        assert!(!message.contains('\u{7}'));
    }
}
