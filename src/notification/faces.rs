//! How a message looks where it goes. Everywhere it is text and nothing else: no face lets markup, a link or a mention
//! through, whoever wrote it.

use chrono::SecondsFormat;
use serde_json::{Value as Json, json};

use super::channel::Message;
use super::text::{CUT, cut, without_calls};

/// The longest text of a block of Slack.
const SLACK_CHARS_MAX: usize = 3_000;

/// The longest text of Discord.
const DISCORD_CHARS_MAX: usize = 2_000;

/// The longest card of Teams, in bytes; what Teams takes is a little more.
const TEAMS_BYTES_MAX: usize = 25 * 1024;

/// What a line of a card takes beside its text.
const TEAMS_BLOCK_BYTES: usize = 110;

/// The most lines of a card.
const TEAMS_LINES_MAX: usize = 100;

/// Text with each character in its escaped form, cut where the next one would be too much, and never within a form.
fn escaped(text: &str, max: usize, escape: impl Fn(char) -> Option<&'static str>) -> String {
    let room = max.saturating_sub(CUT.encode_utf16().count());
    let (mut out, mut units, mut fits) = (String::with_capacity(text.len()), 0, 0);
    for c in text.chars() {
        match escape(c) {
            Some(form) => {
                out.push_str(form);
                units += form.len();
            }
            None => {
                out.push(c);
                units += c.len_utf16();
            }
        }
        if units <= room {
            fits = out.len();
        }
        if units > max {
            out.truncate(fits);
            out.push_str(CUT);
            return out;
        }
    }
    out
}

/// For Slack, and for what speaks like it. The block is plain text, in which no markup counts; `text` is what a
/// notification shows, with the three characters escaped that Slack gives a meaning to.
pub fn slack(message: &Message) -> Json {
    let escape = |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    };
    let text = without_calls(&format!("{}\n{}", message.title, message.whole_text()));
    let text = escaped(&text, SLACK_CHARS_MAX, escape);
    json!({
        "text": text,
        "mrkdwn": false,
        "unfurl_links": false,
        "unfurl_media": false,
        "blocks": [{"type": "section", "text": {"type": "plain_text", "text": text, "emoji": false}}],
    })
}

/// For Discord: every character that Markdown gives a meaning to is escaped, and nobody may be mentioned.
pub fn discord(message: &Message) -> Json {
    let escape = |c| match c {
        '\\' => Some("\\\\"),
        '*' => Some("\\*"),
        '_' => Some("\\_"),
        '~' => Some("\\~"),
        '`' => Some("\\`"),
        '|' => Some("\\|"),
        '<' => Some("\\<"),
        '>' => Some("\\>"),
        '[' => Some("\\["),
        ']' => Some("\\]"),
        '(' => Some("\\("),
        ')' => Some("\\)"),
        '#' => Some("\\#"),
        ':' => Some("\\:"),
        '@' => Some("\\@"),
        '-' => Some("\\-"),
        '+' => Some("\\+"),
        _ => None,
    };
    let text = without_calls(&format!("{}\n{}", message.title, message.whole_text()));
    json!({
        "content": escaped(&text, DISCORD_CHARS_MAX, escape),
        "allowed_mentions": {"parse": []},
        // Show nothing of what an address may lead to.
        "flags": 4,
    })
}

/// For Teams: an Adaptive Card whose text stands in runs, which know no Markdown; a mention would need an entity, and there
/// is none.
pub fn teams(message: &Message) -> Json {
    let text = without_calls(&message.whole_text());
    let mut room = TEAMS_BYTES_MAX;
    let mut lines: Vec<String> = Vec::new();
    'text: for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if lines.len() == TEAMS_LINES_MAX {
            lines.push(CUT.into());
            break;
        }
        room = room.saturating_sub(TEAMS_BLOCK_BYTES);
        let mut whole = String::with_capacity(line.len());
        for c in line.chars() {
            // What JSON makes of it is what counts.
            let bytes = match c {
                '"' | '\\' => 2,
                c if c.is_control() => 6,
                c => c.len_utf8(),
            };
            if bytes + CUT.len() > room {
                lines.push(whole + CUT);
                break 'text;
            }
            room -= bytes;
            whole.push(c);
        }
        lines.push(whole);
    }
    let block = |text: &str, weight: &str| json!({"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, "weight": weight}]});
    let mut body = vec![block(&without_calls(&message.title), "Bolder")];
    body.extend(lines.iter().map(|line| block(line, "Default")));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
            },
        }],
    })
}

/// For somebody's program: what is said, why, and the event itself.
pub fn webhook(message: &Message) -> Json {
    let event: Option<Json> = message.event.as_deref().and_then(|event| serde_json::from_str(event).ok());
    json!({
        "type": "io.argus.notification",
        "timestamp": message.at.to_rfc3339_opts(SecondsFormat::Secs, true),
        "data": {
            "id": message.id,
            "organization": message.organization,
            "rule": message.rule,
            "priority": message.priority.word(),
            "title": message.title,
            "text": message.whole_text(),
            "withheld": message.withheld,
            "event": event,
        },
    })
}

/// The subject and the text of a mail. A subject is one line, so that nothing in it can begin another header.
pub fn mail(message: &Message) -> (String, String) {
    let subject: String = message.title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut text: String = message.whole_text().chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    text.push_str(&format!("\n\n-- \nArgus, for {}", message.organization));
    if let Some(rule) = &message.rule {
        text.push_str(&format!(" (rule {rule})"));
    }
    text.push('\n');
    (cut(&subject, 200), text)
}
