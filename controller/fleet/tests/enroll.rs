//! Joining: what a join token and a request get, good and bad.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod support;

use cordon_fleet::ca::{Authority, HostRequest};
use cordon_store::{NewJoinToken, SecretHash};
use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use support::{Controller, GROUP, Keys, SITE, policy_key, request_by};
use tonic::Code;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

#[tokio::test]
async fn a_token_and_a_request_get_an_identity() {
    let controller = Controller::start().await;
    let keys = Keys::generate();
    let token = controller.token(1).await;
    let answer = controller.enroll(&token, keys.request()).await.unwrap();
    assert_eq!((answer.site.as_str(), answer.group.as_str()), (SITE, GROUP));
    assert_eq!(answer.policy_key, policy_key().verifying_key().as_bytes());
    let chain: Vec<Pem> = Pem::iter_from_buffer(answer.certificate_pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(chain.len(), 2, "the certificate, then the CA");
    let certificate = chain[0].parse_x509().unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let uri = format!("spiffe://{SITE}/host/{}", answer.host_id);
    assert_eq!(
        names.value.general_names,
        [GeneralName::URI(&uri)],
        "and nothing of the request's"
    );
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    assert!(!certificate.is_ca());
    let authority = chain[1].parse_x509().unwrap();
    certificate
        .verify_signature(Some(authority.public_key()))
        .unwrap();
    let host = controller
        .store()
        .host(answer.host_id.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((host.name.as_str(), host.group.as_str()), ("ep1", GROUP));
    assert_eq!(controller.audited("host.enroll").await.len(), 1);
}

#[tokio::test]
async fn a_token_that_is_used_up_expired_or_unknown_is_refused_by_its_reason() {
    let controller = Controller::start().await;
    let used = controller.token(1).await;
    controller
        .enroll(&used, Keys::generate().request())
        .await
        .unwrap();
    let expired = NewJoinToken {
        hash: SecretHash::of("expired"),
        group: GROUP.into(),
        uses: 1,
        expires_at: Timestamp::now() - SignedDuration::from_secs(1),
        created_by: "admin".into(),
    };
    controller
        .store()
        .add_join_token(&expired, Timestamp::now())
        .await
        .unwrap();
    for (token, why) in [
        (used.as_str(), "all its uses are taken"),
        ("expired", "it has expired"),
        ("never made", "it is unknown"),
    ] {
        let refused = controller
            .enroll(token, Keys::generate().request())
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert_eq!(
            refused.message(),
            format!("join token refused: {why}; ask for one made with `cordonctl token create`")
        );
    }
    assert_eq!(controller.store().hosts().await.unwrap().len(), 1);
    assert_eq!(controller.audited("host.enroll.refused").await.len(), 3);
}

#[tokio::test]
async fn a_bad_request_is_refused_and_takes_no_use() {
    let controller = Controller::start().await;
    let token = controller.token(1).await;
    let other_kind = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let good = Keys::generate().request();
    // The signature is at the end of the DER, so near the end of the PEM.
    let body_end = good.find("-----END").unwrap();
    let mut broken = good.clone();
    let at = body_end - 12;
    let flipped = if &broken[at..=at] == "A" { "B" } else { "A" };
    broken.replace_range(at..=at, flipped);
    let oversized = "A".repeat(100_000);
    for (csr, why) in [
        (request_by(&other_kind), "must be for an Ed25519 key"),
        (broken, "not signed by the key that it is for"),
        ("nonsense".to_owned(), "not a PKCS#10 request in PEM"),
        (oversized, "is larger than"),
    ] {
        let refused = controller.enroll(&token, csr).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(why), "{}", refused.message());
    }
    controller.enroll(&token, good).await.unwrap();
}

#[tokio::test]
async fn guessing_tokens_is_slowed_down() {
    let controller = Controller::start().await;
    let request = Keys::generate().request();
    for _ in 0..10 {
        let refused = controller
            .enroll("guess", request.clone())
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    let token = controller.token(1).await;
    let refused = controller.enroll(&token, request).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[test]
fn the_authority_is_read_back_and_another_key_is_refused() {
    let now = Timestamp::now();
    let (one, two) = (
        Authority::generate(SITE, now).unwrap(),
        Authority::generate(SITE, now).unwrap(),
    );
    let again = Authority::from_pem(one.certificate_pem(), &one.key_pem()).unwrap();
    assert_eq!(again.fingerprint(), one.fingerprint());
    assert_eq!(one.fingerprint().len(), 64);
    assert!(Authority::from_pem(one.certificate_pem(), &two.key_pem()).is_err());
    assert!(Authority::generate("Head Quarters", now).is_err());
}

#[test]
fn the_server_certificate_has_the_fixed_name_and_the_given_ones() {
    let now = Timestamp::now();
    let authority = Authority::generate(SITE, now).unwrap();
    let names = ["cordon.example".to_owned()];
    let identity = authority
        .server_identity(&["192.0.2.1".parse().unwrap()], &names, now)
        .unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(identity.certificate_pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(
        names.value.general_names,
        [
            GeneralName::DNSName("controller.cordon.internal"),
            GeneralName::DNSName("cordon.example"),
            GeneralName::IPAddress(&[192, 0, 2, 1]),
        ]
    );
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth);
}
proptest::proptest! {
    #[test]
    fn hostile_requests_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n");
        proptest::prop_assert!(HostRequest::parse(&pem).is_err());
    }
}
