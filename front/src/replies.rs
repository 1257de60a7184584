//! Reads the answers that Python gives.

use crate::answers::{framed, INTERNAL};
use crate::call::Call;
use crate::shared::{Answer, Status};
use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

enum Form {
    Message(Bytes, Option<&'static str>),
    Status(Status),
}

type Refusal = (Py<PyAny>, u16, String, Vec<(String, Vec<u8>)>);

/// What is to be sent, and whether the item has the form of an answer. A call whose answer has
/// another form is refused; one that is answered already gets nothing.
pub(crate) fn answer_of(item: &Bound<'_, PyAny>) -> (Option<Answer>, bool) {
    let Ok(item) = item.downcast::<PyTuple>() else { return (None, false) };
    let Ok(first) = item.get_item(0) else { return (None, false) };
    let Ok(call) = first.downcast::<Call>() else { return (None, false) };
    let call = &call.get().handed;
    let form = form_of(item);
    let fine = form.is_some();
    let answer = call.take_reply().map(|reply| match form {
        Some(Form::Message(framed, encoding)) => {
            Answer::Message { reply, peer: call.peer.clone(), framed, encoding }
        }
        Some(Form::Status(status)) => Answer::Status { reply, status },
        None => {
            let details = "internal error".to_owned();
            Answer::Status { reply, status: Status { code: INTERNAL, details, trailing: vec![] } }
        }
    });
    (answer, fine)
}

fn form_of(item: &Bound<'_, PyTuple>) -> Option<Form> {
    let second = item.get_item(1).ok()?;
    if let Ok(message) = second.downcast::<PyBytes>() {
        let encoding = match item.len() {
            2 => None,
            3 => Some(match item.get_item(2).ok()?.extract::<String>().ok()?.as_str() {
                "gzip" => "gzip",
                "deflate" => "deflate",
                _ => return None,
            }),
            _ => return None,
        };
        return Some(Form::Message(framed(message.as_bytes(), encoding.is_some())?, encoding));
    }
    let (_, code, details, trailing): Refusal = item.extract().ok()?;
    Some(Form::Status(Status { code, details, trailing }))
}
