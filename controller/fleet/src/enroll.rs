//! Enrolment: a join token and a key in, an identity out.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::PoisonError;

use cordon_proto::id::HostId;
use cordon_proto::pb::enrollment_server::Enrollment;
use cordon_proto::pb::{EnrollRequest, EnrollResponse};
use cordon_store::{Host, NewHost, SecretHash, StoreError};
use jiff::Timestamp;
use tonic::{Code, Request, Response, Status};

use crate::ca::{HostCertificate, HostRequest};
use crate::failure::{chain, status};
use crate::{Fleet, bounds};

const MAX_TOKEN_BYTES: usize = 256;

/// The one service that a host without an identity may call.
pub(crate) struct EnrollmentService(pub Fleet);

#[tonic::async_trait]
impl Enrollment for EnrollmentService {
    async fn enroll(
        &self,
        request: Request<EnrollRequest>,
    ) -> Result<Response<EnrollResponse>, Status> {
        let now = Timestamp::now();
        let source = request
            .remote_addr()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
        if !self.0.admits_from(source, now) {
            return Err(Status::resource_exhausted(
                "too many failed enrolments from this network; wait a minute",
            ));
        }
        let outcome = self.0.enroll(request.get_ref(), source, now).await;
        // The controller's own trouble is not held against anybody.
        let theirs = |status: &Status| {
            matches!(
                status.code(),
                Code::PermissionDenied | Code::InvalidArgument
            )
        };
        if outcome.as_ref().is_err_and(theirs) {
            self.0.failed_from(source, now);
        }
        outcome.map(Response::new)
    }
}

impl Fleet {
    fn admits_from(&self, source: IpAddr, now: Timestamp) -> bool {
        let throttle = self.0.throttle.lock();
        throttle
            .unwrap_or_else(PoisonError::into_inner)
            .admits(source, now)
    }

    fn failed_from(&self, source: IpAddr, now: Timestamp) {
        let throttle = self.0.throttle.lock();
        throttle
            .unwrap_or_else(PoisonError::into_inner)
            .failed(source, now);
    }

    async fn enroll(
        &self,
        asked: &EnrollRequest,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<EnrollResponse, Status> {
        if asked.join_token.is_empty() || asked.join_token.len() > MAX_TOKEN_BYTES {
            return Err(Status::invalid_argument(
                "the join token is empty or too long",
            ));
        }
        let request = read_request(&asked.csr_pem)?;
        let id = HostId::generate();
        let certificate = self.sign(id, &request, now)?;
        let host = NewHost {
            id,
            name: bounds::text(&asked.hostname),
            machine_id: bounds::text(&asked.machine_id),
            public_key: *request.public_key(),
            certificate: certificate.facts,
        };
        // The token is used up and the host is there, or neither.
        let token = SecretHash::of(&asked.join_token);
        match self.store().enroll(&token, &host, now).await {
            Ok(host) => {
                self.welcomed(&host, &token, source).await;
                Ok(self.welcome(host, certificate.certificate_pem))
            }
            Err(error) => Err(self.turned_away(&host, &error, &token, source).await),
        }
    }

    /// A certificate for a host of this site.
    pub(crate) fn sign(
        &self,
        host: HostId,
        request: &HostRequest,
        now: Timestamp,
    ) -> Result<HostCertificate, Status> {
        let site = &self.0.site;
        site.authority
            .sign_host(&site.name, host, request, now, site.host_lifetime)
            .map_err(|error| {
                tracing::error!(error = %chain(&error), "host certificate not signed");
                Status::internal("the controller could not sign the certificate; its log says why")
            })
    }

    fn welcome(&self, host: Host, certificate_pem: String) -> EnrollResponse {
        let site = &self.0.site;
        EnrollResponse {
            host_id: host.id.to_string(),
            site: site.name.clone(),
            group: host.group,
            certificate_pem,
            ca_pem: site.authority.certificate_pem().to_owned(),
            policy_key: site.policy_key.as_bytes().to_vec(),
        }
    }

    async fn welcomed(&self, host: &Host, token: &SecretHash, source: IpAddr) {
        tracing::info!(host = %host.id, name = host.name, group = host.group, %source, "host enrolled");
        let (who, target) = (
            format!("host {}", host.id),
            format!(
                "{:?} joined group {} from {source} by join token {}",
                host.name,
                host.group,
                token.name()
            ),
        );
        self.audit(&who, "host.enroll", &target).await;
    }

    async fn turned_away(
        &self,
        host: &NewHost,
        error: &StoreError,
        token: &SecretHash,
        source: IpAddr,
    ) -> Status {
        if let StoreError::Token(refusal) = error {
            tracing::warn!(%source, token = token.name(), reason = %refusal, "enrolment refused");
            let target = format!(
                "{:?} with join token {}: {refusal}",
                host.name,
                token.name()
            );
            self.audit(&format!("address {source}"), "host.enroll.refused", &target)
                .await;
            // Whoever holds a token of 192 bits may know what became of it.
            return Status::permission_denied(format!(
                "{error}; ask for one made with `cordonctl token create`"
            ));
        }
        status(error)
    }
}

/// A request whose sender holds the key.
pub(crate) fn read_request(pem: &str) -> Result<HostRequest, Status> {
    HostRequest::parse(pem).map_err(|error| Status::invalid_argument(error.to_string()))
}
