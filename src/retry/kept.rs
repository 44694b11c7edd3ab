use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, request};
use tonic::GrpcMethod;

use crate::{
    deadline::{Deadline, GRPC_TIMEOUT},
    rpc::Rpc,
};

/// What it takes to make a request's head again.
///
/// Kept of every call that may be tried again, and hardly ever used: so it is cheaper to make than a clone of the head.
pub(super) struct Kept {
    method: Method,
    target: Target,
    version: Version,
    headers: KeptHeaders,
    extensions: KeptExtensions,
}

/// Where the request goes.
enum Target {
    /// To a method of Dapr's, as tonic's clients write it: the path, and nothing beside it.
    Rpc(&'static Rpc),
    Uri(Uri),
}

impl Target {
    #[inline]
    fn new(uri: &Uri, rpc: Option<&'static Rpc>) -> Self {
        match rpc {
            // It was found by the path.
            Some(rpc) if uri.scheme().is_none() && uri.authority().is_none() && uri.query().is_none() => Self::Rpc(rpc),
            _ => Self::Uri(uri.clone()),
        }
    }

    fn uri(&self) -> Uri {
        match self {
            Self::Rpc(rpc) => Uri::from_static(rpc.path()),
            Self::Uri(uri) => uri.clone(),
        }
    }
}

/// The headers, one behind the other: a word of lengths, the name, the value.
///
/// They are copied, since the first clone of a value that was made at run time allocates. Few short copies do not.
struct KeptHeaders(Vec<u8>);

/// The bit of the word that says that the value is sensitive. Below it is the length of the name, at most 65,535; above,
/// that of the value.
const SENSITIVE: u32 = 16;

/// Nearly every header, its word included, is shorter.
const ROOM: usize = 64;

impl KeptHeaders {
    #[inline]
    fn new(headers: &HeaderMap) -> Self {
        let mut bytes = Vec::with_capacity(headers.len() * ROOM);
        for (name, value) in headers {
            let name = name.as_str().as_bytes();
            let word = (value.len() as u64) << (SENSITIVE + 1)
                | u64::from(value.is_sensitive()) << SENSITIVE
                | name.len() as u64;
            bytes.extend_from_slice(&word.to_ne_bytes());
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value.as_bytes());
        }
        Self(bytes)
    }

    /// Name, value, and whether that is sensitive.
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], bool)> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (word, behind) = rest.split_first_chunk()?;
            let word = u64::from_ne_bytes(*word);
            let (name, behind) = behind.split_at((word & ((1 << SENSITIVE) - 1)) as usize);
            let (value, behind) = behind.split_at((word >> (SENSITIVE + 1)) as usize);
            rest = behind;
            Some((name, value, word >> SENSITIVE & 1 == 1))
        })
    }
}

/// What a request's extensions are, as far as one look tells: each look costs.
pub(super) struct Carried {
    /// Put there by tonic's clients.
    pub(super) grpc: Option<GrpcMethod<'static>>,
    /// How many there are beside it: mostly none.
    pub(super) others: usize,
}

impl Carried {
    #[inline]
    pub(super) fn by(extensions: &Extensions) -> Self {
        let grpc = extensions.get::<GrpcMethod<'static>>().cloned();
        let others = extensions.len() - usize::from(grpc.is_some());
        Self { grpc, others }
    }
}

enum KeptExtensions {
    /// Those that nearly every call has, and no other.
    Known {
        grpc: Option<GrpcMethod<'static>>,
        deadline: Option<Deadline>,
    },
    Any(Extensions),
}

impl Kept {
    #[inline]
    pub(super) fn new(head: &request::Parts, carried: Carried, rpc: Option<&'static Rpc>) -> Self {
        Self {
            method: head.method.clone(),
            target: Target::new(&head.uri, rpc),
            version: head.version,
            headers: KeptHeaders::new(&head.headers),
            extensions: KeptExtensions::new(&head.extensions, carried),
        }
    }

    pub(super) fn path(&self) -> &str {
        match &self.target {
            Target::Rpc(rpc) => rpc.path(),
            Target::Uri(uri) => uri.path(),
        }
    }

    /// The call's deadline. A walk along a few headers is shorter than a look into their table.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let carried = match &self.extensions {
            KeptExtensions::Known { deadline, .. } => deadline.as_ref(),
            KeptExtensions::Any(extensions) => extensions.get::<Deadline>(),
        };
        let asked = self.headers.iter().find(|(name, ..)| *name == GRPC_TIMEOUT.as_str().as_bytes());
        let asked = asked.and_then(|(_, value, _)| HeaderValue::from_bytes(value).ok());
        Deadline::of_parts(carried, asked.as_ref())
    }

    /// The head of a further attempt.
    pub(super) fn head(&self) -> request::Parts {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = self.method.clone();
        head.uri = self.target.uri();
        head.version = self.version;
        for (name, value, is_sensitive) in self.headers.iter() {
            let name = HeaderName::from_bytes(name).expect("it is the name of a header");
            let mut value = HeaderValue::from_bytes(value).expect("it is the value of a header");
            value.set_sensitive(is_sensitive);
            head.headers.append(name, value);
        }
        match &self.extensions {
            KeptExtensions::Any(extensions) => head.extensions = extensions.clone(),
            KeptExtensions::Known { grpc, deadline } => {
                if let Some(grpc) = grpc {
                    head.extensions.insert(grpc.clone());
                }
                if let Some(deadline) = deadline {
                    head.extensions.insert(deadline.clone());
                }
            }
        }
        head
    }
}

impl KeptExtensions {
    #[inline]
    fn new(extensions: &Extensions, Carried { grpc, others }: Carried) -> Self {
        let deadline = if others == 0 { None } else { extensions.get::<Deadline>() };
        if others == usize::from(deadline.is_some()) {
            Self::Known { grpc, deadline: deadline.cloned() }
        } else {
            Self::Any(extensions.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderValue, Request, Uri, Version};
    use tonic::GrpcMethod;

    use super::{Carried, Kept, KeptExtensions, Target};
    use crate::{deadline::Deadline, rpc::Rpc};

    #[tokio::test(start_paused = true)]
    async fn a_head_is_made_again_as_it_was() {
        let (mut head, ()) = Request::put("http://a/b?c")
            .version(Version::HTTP_2)
            .header("x", "1")
            .header("y", "2")
            .header("x", "3")
            .header("empty", "")
            .header("opaque", HeaderValue::from_bytes(b"\xfc\t").unwrap())
            .header("long", "v".repeat(100_000))
            .body(())
            .unwrap()
            .into_parts();
        let mut token = HeaderValue::from_static("secret");
        token.set_sensitive(true);
        head.headers.insert("dapr-api-token", token);
        head.extensions.insert(GrpcMethod::new("S", "M"));
        head.extensions.insert(Deadline::after(Duration::from_secs(1)));
        let kept = Kept::new(&head, Carried::by(&head.extensions), None);
        assert!(matches!(kept.extensions, KeptExtensions::Known { .. }));
        let made = kept.head();
        assert_eq!((&made.method, &made.uri, made.version), (&head.method, &head.uri, head.version));
        assert_eq!(made.headers, head.headers);
        let sensitive = made.headers.iter().filter(|(_, value)| value.is_sensitive());
        assert!(sensitive.map(|(name, _)| name).eq(["dapr-api-token"]));
        assert_eq!(made.extensions.get::<GrpcMethod<'static>>().unwrap().method(), "M");
        assert!(made.extensions.get::<Deadline>().is_some());

        assert_eq!(kept.deadline().unwrap().remaining(), Duration::from_secs(1));

        head.extensions.insert(7_u8);
        head.headers.insert("grpc-timeout", "2m".parse().unwrap());
        let kept = Kept::new(&head, Carried::by(&head.extensions), None);
        assert_eq!(kept.deadline().unwrap().remaining(), Duration::from_millis(2));
        let made = kept.head();
        assert_eq!(made.extensions.get::<u8>(), Some(&7));
        assert!(made.extensions.get::<Deadline>().is_some() && made.extensions.get::<GrpcMethod<'static>>().is_some());
    }

    #[test]
    fn a_target_is_made_again_as_it_was() {
        let rpc = Rpc::lookup("/dapr.proto.runtime.v1.Dapr/GetState").unwrap();
        for (uri, is_known) in [
            (rpc.path().to_owned(), true),
            (format!("{}?a=b", rpc.path()), false),
            (format!("{}?", rpc.path()), false),
            (format!("http://localhost:50001{}", rpc.path()), false),
        ] {
            let (mut head, ()) = Request::new(()).into_parts();
            head.uri = uri.parse::<Uri>().unwrap();
            let kept = Kept::new(&head, Carried::by(&head.extensions), Some(rpc));
            assert_eq!(matches!(kept.target, Target::Rpc(_)), is_known, "{uri}");
            assert_eq!((kept.head().uri.to_string(), kept.path()), (uri, rpc.path()));
        }
    }
}
