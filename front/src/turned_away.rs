//! Calls that are refused again without Python: for a moment after one was refused for want of room,
//! its caller would hear the same, and to say it would cost what answering others costs. A caller is
//! known by certificate and metadata. It hears of it when its connection is looked at next, so who
//! asks again at once does so ten times a second and no more; unless its deadline comes first.

use crate::shared::{lock, Status};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Mutex;
use std::time::Instant;

/// Of how many kinds of calls refusals are kept.
const MOST: usize = 32;

struct Refusal {
    certificate: Option<Vec<u8>>,
    headers: HeaderMap,
    beginning: Bytes,
    until: Instant,
    status: Status,
}

/// What a call says of itself.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// DER, as verified.
    pub(crate) certificate: Option<&'a Vec<u8>>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) message: &'a [u8],
}

/// The refusals that are kept.
#[derive(Default)]
pub(crate) struct TurnedAway(Mutex<Vec<Refusal>>);

impl TurnedAway {
    /// Refuses calls of this caller whose message is this or begins so, until then.
    pub(crate) fn add(&self, asked: Asked<'_>, until: Instant, status: Status) {
        let mut kept = lock(&self.0);
        let now = Instant::now();
        kept.retain(|each| each.until > now);
        if kept.len() < MOST {
            kept.push(Refusal {
                certificate: asked.certificate.cloned(),
                headers: asked.headers.clone(),
                beginning: Bytes::copy_from_slice(asked.message),
                until,
                status,
            });
        }
    }

    /// What a call is refused with at this moment, if it is.
    pub(crate) fn status(&self, asked: Asked<'_>, now: Instant) -> Option<Status> {
        let kept = lock(&self.0);
        let found = kept.iter().find(|each| {
            each.until > now
                && asked.message.starts_with(&each.beginning)
                && each.certificate.as_ref() == asked.certificate
                && have_same(&each.headers, asked.headers)
        });
        found.map(|each| each.status.clone())
    }
}

/// Whether two calls have the same metadata, in the same order. The time that is granted is none,
/// and another with each call.
pub(crate) fn have_same(one: &HeaderMap, other: &HeaderMap) -> bool {
    metadata(one).eq(metadata(other))
}

fn metadata(all: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    all.iter().filter(|(name, _)| name.as_str() != "grpc-timeout")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn of(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut all = HeaderMap::new();
        for &(name, value) in pairs {
            all.append(name, HeaderValue::from_static(value));
        }
        all
    }

    #[test]
    fn metadata_is_the_same_but_for_the_time_that_is_granted() {
        let one = of(&[("authorization", "Bearer a"), ("grpc-timeout", "1S"), ("x", "1")]);
        assert!(have_same(&one, &of(&[("authorization", "Bearer a"), ("x", "1")])));
        assert!(have_same(
            &one,
            &of(&[("authorization", "Bearer a"), ("grpc-timeout", "2S"), ("x", "1")])
        ));
        assert!(!have_same(&one, &of(&[("authorization", "Bearer b"), ("x", "1")])));
        assert!(!have_same(&one, &of(&[("authorization", "Bearer a")])));
        assert!(!have_same(&one, &of(&[("authorization", "Bearer a"), ("x", "1"), ("x", "1")])));
    }

    fn asked<'a>(headers: &'a HeaderMap, message: &'a [u8]) -> Asked<'a> {
        Asked { certificate: None, headers, message }
    }

    #[test]
    fn a_call_alike_is_refused_until_then_and_no_other() {
        let (away, own) = (TurnedAway::default(), of(&[("authorization", "Bearer a")]));
        let (now, certificate) = (Instant::now(), vec![1]);
        let until = now + Duration::from_secs(60);
        let status = Status { code: 8, ..Status::default() };
        away.add(asked(&own, b"\x0a\x06digits"), until, status);
        let code = |call, now| away.status(call, now).map(|status| status.code);
        let same = asked(&own, b"\x0a\x06digits and rows");
        assert_eq!(code(same, now), Some(8));
        assert_eq!(code(same, until), None);
        assert_eq!(code(asked(&own, b"\x0a\x06spams"), now), None);
        assert_eq!(code(Asked { certificate: Some(&certificate), ..same }, now), None);
        let other = of(&[("authorization", "Bearer b")]);
        assert_eq!(code(Asked { headers: &other, ..same }, now), None);
    }

    #[test]
    fn no_more_than_a_few_kinds_of_calls_are_kept() {
        let (away, own) = (TurnedAway::default(), of(&[]));
        let now = Instant::now();
        let last = u8::try_from(MOST).unwrap();
        for kind in 0..=last {
            away.add(asked(&own, &[kind]), now + Duration::from_secs(60), Status::default());
        }
        assert!(away.status(asked(&own, &[0]), now).is_some());
        assert!(away.status(asked(&own, &[last]), now).is_none());
    }
}
