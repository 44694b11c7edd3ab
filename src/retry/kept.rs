use http::{Extensions, HeaderName, HeaderValue, Method, Uri, Version, request};
use tonic::GrpcMethod;

use crate::deadline::{Deadline, GRPC_TIMEOUT};

/// What it takes to make a request's head again.
///
/// Kept of every call that may be tried again, and hardly ever used: so it is cheaper to make than a clone of the head.
pub(super) struct Kept {
    method: Method,
    pub(super) uri: Uri,
    version: Version,
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: KeptExtensions,
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
    pub(super) fn new(head: &request::Parts, carried: Carried) -> Self {
        let mut headers = Vec::with_capacity(head.headers.len());
        for (name, value) in &head.headers {
            headers.push((name.clone(), value.clone()));
        }
        Self {
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            headers,
            extensions: KeptExtensions::new(&head.extensions, carried),
        }
    }

    /// The call's deadline. A walk along a few headers is shorter than a look into their table.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let carried = match &self.extensions {
            KeptExtensions::Known { deadline, .. } => deadline.as_ref(),
            KeptExtensions::Any(extensions) => extensions.get::<Deadline>(),
        };
        let asked = self.headers.iter().find(|(name, _)| *name == GRPC_TIMEOUT).map(|(_, value)| value);
        Deadline::of_parts(carried, asked)
    }

    /// The head of a further attempt.
    pub(super) fn head(&self) -> request::Parts {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = self.method.clone();
        head.uri = self.uri.clone();
        head.version = self.version;
        for (name, value) in &self.headers {
            head.headers.append(name, value.clone());
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

    use http::{Request, Version};
    use tonic::GrpcMethod;

    use super::{Carried, Kept, KeptExtensions};
    use crate::deadline::Deadline;

    #[tokio::test(start_paused = true)]
    async fn a_head_is_made_again_as_it_was() {
        let (mut head, ()) = Request::put("http://a/b?c")
            .version(Version::HTTP_2)
            .header("x", "1")
            .header("y", "2")
            .header("x", "3")
            .body(())
            .unwrap()
            .into_parts();
        head.extensions.insert(GrpcMethod::new("S", "M"));
        head.extensions.insert(Deadline::after(Duration::from_secs(1)));
        let kept = Kept::new(&head, Carried::by(&head.extensions));
        assert!(matches!(kept.extensions, KeptExtensions::Known { .. }));
        let made = kept.head();
        assert_eq!((&made.method, &made.uri, made.version), (&head.method, &head.uri, head.version));
        assert_eq!(made.headers, head.headers);
        assert_eq!(made.extensions.get::<GrpcMethod<'static>>().unwrap().method(), "M");
        assert!(made.extensions.get::<Deadline>().is_some());

        assert_eq!(kept.deadline().unwrap().remaining(), Duration::from_secs(1));

        head.extensions.insert(7_u8);
        head.headers.insert("grpc-timeout", "2m".parse().unwrap());
        let kept = Kept::new(&head, Carried::by(&head.extensions));
        assert_eq!(kept.deadline().unwrap().remaining(), Duration::from_millis(2));
        let made = kept.head();
        assert_eq!(made.extensions.get::<u8>(), Some(&7));
        assert!(made.extensions.get::<Deadline>().is_some() && made.extensions.get::<GrpcMethod<'static>>().is_some());
    }
}
