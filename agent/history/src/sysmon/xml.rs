//! Reading the XML of one event.

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::Damage;

/// Fields of one event that are kept; the largest has some thirty.
const FIELDS: usize = 64;

/// What an event says.
#[derive(Debug, Default)]
pub(super) struct Data {
    pub event_id: Option<u32>,
    /// `TimeCreated`.
    pub logged: String,
    fields: Vec<(String, String)>,
}

impl Data {
    /// A field's text; empty when it is absent or the `-` of one that does not apply.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found
            .map(|(_, text)| text.as_str())
            .filter(|text| *text != "-")
            .unwrap_or("")
    }
}

enum Into {
    EventId,
    Field(String),
}

/// Reads up to the event's end.
pub(super) fn read(xml: &[u8]) -> Result<Data, Damage> {
    let text = String::from_utf8_lossy(xml);
    let mut reader = Reader::from_str(&text);
    let mut data = Data::default();
    let mut into: Option<Into> = None;
    let mut content = String::new();
    loop {
        match reader.read_event().map_err(damage)? {
            Event::Start(tag) => {
                into = opened(&tag, &mut data)?;
                content.clear();
            }
            Event::Empty(tag) => {
                opened(&tag, &mut data)?;
            }
            Event::Text(text) => content.push_str(&text.xml10_content()),
            Event::CData(text) => content.push_str(&text.xml10_content()),
            Event::GeneralRef(name) => content.push_str(&character(&name)?),
            Event::End(tag) => {
                if tag.name().as_ref() == "Event" {
                    return Ok(data);
                }
                data.put(into.take(), std::mem::take(&mut content))?;
            }
            Event::Eof => return Err(Damage::Missing { what: "</Event>" }),
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => {}
        }
    }
}

fn opened(tag: &BytesStart<'_>, data: &mut Data) -> Result<Option<Into>, Damage> {
    let attribute = |name: &str| -> Result<String, Damage> {
        let found = tag.try_get_attribute(name).map_err(damage)?;
        let value = found.map(|found| found.normalized_value(XmlVersion::Implicit1_0));
        let value = value.transpose().map_err(damage)?;
        Ok(value.unwrap_or_default().into_owned())
    };
    Ok(match tag.name().as_ref() {
        "EventID" => Some(Into::EventId),
        "Data" => Some(Into::Field(attribute("Name")?)),
        "TimeCreated" => {
            data.logged = attribute("SystemTime")?;
            None
        }
        _ => None,
    })
}

/// `&lt;`, `&#10;` and their like.
fn character(name: &BytesRef<'_>) -> Result<String, Damage> {
    if let Some(found) = name.resolve_char_ref().map_err(damage)? {
        return Ok(found.to_string());
    }
    let name = name.xml10_content();
    let found = quick_xml::escape::resolve_predefined_entity(&name);
    let unknown = || Damage::field("entity", "character of XML", name.as_bytes());
    found.map(str::to_owned).ok_or_else(unknown)
}

impl Data {
    fn put(&mut self, into: Option<Into>, content: String) -> Result<(), Damage> {
        match into {
            Some(Into::EventId) => {
                let id = content.trim().parse();
                let wrong = |_| Damage::field("EventID", "number", content.as_bytes());
                self.event_id = Some(id.map_err(wrong)?);
            }
            Some(Into::Field(name)) if self.fields.len() < FIELDS => {
                self.fields.push((name, content));
            }
            Some(Into::Field(_)) | None => {}
        }
        Ok(())
    }
}

fn damage(error: impl std::fmt::Display) -> Damage {
    Damage::Xml(error.to_string())
}
