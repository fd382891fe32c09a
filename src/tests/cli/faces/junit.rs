//! JUnit's XML, read as strictly as any reader does: nobody owns the format, and some refuse an attribute that they do
//! not know.

use roxmltree::{Document, Node};

use super::super::Ran;

/// A test case, with the message of its failure if it failed, and what it has to say besides.
#[derive(Debug, PartialEq, Eq)]
pub struct Case {
    class: String,
    name: String,
    pub failure: String,
    pub output: String,
}

impl From<(&str, &str, &str)> for Case {
    fn from((class, name, failure): (&str, &str, &str)) -> Self {
        Case { class: class.into(), name: name.into(), failure: failure.into(), output: String::new() }
    }
}

/// An element: what may stand in it, which attributes it must have, and which it may have.
type Rule = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// What the strictest readers take of what Argus writes.
const RULES: &[Rule] = &[
    ("testsuites", &["testsuite"], &[], &["name", "time", "tests", "failures", "errors"]),
    (
        "testsuite",
        &["properties", "testcase", "system-out", "system-err"],
        &["name", "tests", "failures", "errors"],
        &["time", "skipped", "timestamp", "hostname", "id", "package", "file"],
    ),
    (
        "testcase",
        &["skipped", "error", "failure", "system-out", "system-err"],
        &["name"],
        &["time", "classname", "group"],
    ),
    ("failure", &[], &[], &["type", "message"]),
    ("skipped", &[], &[], &["type", "message"]),
    ("system-out", &[], &[], &[]),
];

/// The cases of a valid document.
#[track_caller]
pub fn cases(ran: &Ran) -> Vec<Case> {
    let document = Document::parse(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran}"));
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "testsuites", "{ran}");
    let faults = faults(root);
    assert!(faults.is_empty(), "{faults:?}\n{ran}");
    let attribute = |node: Node<'_, '_>, name: &str| node.attribute(name).unwrap_or_default().to_owned();
    let cases = root.descendants().filter(|node| node.has_tag_name("testcase"));
    let case = |node: Node<'_, '_>| {
        let child = |name: &str| node.children().find(|child| child.has_tag_name(name));
        Case {
            class: attribute(node, "classname"),
            name: attribute(node, "name"),
            failure: child("failure").map(|failure| attribute(failure, "message")).unwrap_or_default(),
            output: child("system-out").and_then(|output| output.text()).unwrap_or_default().to_owned(),
        }
    };
    cases.map(case).collect()
}

/// What is wrong with an element and all that stands in it.
fn faults(node: Node<'_, '_>) -> Vec<String> {
    let name = node.tag_name().name();
    let Some((_, inside, required, optional)) = RULES.iter().find(|(known, ..)| *known == name) else {
        return vec![format!("unknown element {name}")];
    };
    let mut faults = Vec::new();
    for attribute in node.attributes().map(|attribute| attribute.name()) {
        if !required.contains(&attribute) && !optional.contains(&attribute) {
            faults.push(format!("{name} has no attribute {attribute}"));
        }
    }
    for attribute in required.iter().filter(|attribute| node.attribute(**attribute).is_none()) {
        faults.push(format!("{name} lacks {attribute}"));
    }
    if let Some(time) = node.attribute("time").filter(|time| time.parse::<f64>().is_err() || time.contains('e')) {
        faults.push(format!("{name} takes {time}"));
    }
    let elements = || node.children().filter(Node::is_element);
    for child in elements().filter(|child| !inside.contains(&child.tag_name().name())) {
        faults.push(format!("{} stands in {name}", child.tag_name().name()));
    }
    // Sums have to be right: some readers show them, others count for themselves.
    let said = |name: &str| node.attribute(name).and_then(|count| count.parse::<usize>().ok());
    let cases = || node.descendants().filter(|node| node.has_tag_name("testcase"));
    let with = |tag: &str| cases().filter(|case| case.children().any(|child| child.has_tag_name(tag))).count();
    for (attribute, counted) in [
        ("tests", cases().count()),
        ("failures", with("failure")),
        ("errors", with("error")),
        ("skipped", with("skipped")),
    ] {
        if said(attribute).is_some_and(|said| said != counted) {
            faults.push(format!("{name} says {said:?} {attribute} and has {counted}", said = said(attribute)));
        }
    }
    faults.extend(elements().flat_map(self::faults));
    faults
}

#[test]
fn what_strict_readers_refuse_is_seen() {
    let wrong = |xml: &str| faults(Document::parse(xml).expect("XML").root_element());
    let good = "<testsuites><testsuite name='a' tests='1' failures='0' errors='0'><testcase name='x'/></testsuite></testsuites>";
    assert!(wrong(good).is_empty());
    for (from, to) in [
        (" errors='0'", ""),
        ("<testcase name='x'/>", "<testcase name='x' line='3'/>"),
        ("<testcase name='x'/>", "<testcase/>"),
        ("<testcase name='x'/>", "<failure/>"),
        ("tests='1'", "tests='2'"),
        ("failures='0'", "failures='1'"),
        ("name='a'", "name='a' time='soon'"),
    ] {
        assert!(!wrong(&good.replace(from, to)).is_empty(), "{to}");
    }
}
