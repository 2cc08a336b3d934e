//! The socket by which root at the machine talks to the daemon.
#![expect(clippy::unwrap_used, reason = "a failure to set up is a failed test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cordon_agent::local::{self, Answer, LocalError, Question, Request};
use tokio::sync::mpsc;

fn answering(path: &Path) -> tokio::task::JoinHandle<()> {
    let listener = local::bind(path).unwrap();
    let (asking, mut requests) = mpsc::channel::<Request>(4);
    tokio::spawn(local::serve(listener, asking));
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            let detail = format!("{:?}", request.question);
            let answer = Answer::Failed { detail };
            assert!(request.answer.send(answer).is_ok());
        }
    })
}

async fn ask(path: &Path, question: Question) -> Result<Answer, LocalError> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || local::ask(&path, &question))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_gets_its_own_answer_and_the_socket_is_for_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let engine = answering(&path);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for n in 0..20 {
        let question = Question::Release {
            reason: format!("reason {n}"),
        };
        let Answer::Failed { detail } = ask(&path, question).await.unwrap() else {
            panic!("another answer");
        };
        assert_eq!(detail, format!("Release {{ reason: \"reason {n}\" }}"));
    }
    engine.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_a_killed_daemon_left_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    drop(local::bind(&path).unwrap());
    assert!(matches!(
        ask(&path, Question::Status).await,
        Err(LocalError::NotRunning(_))
    ));
    let engine = answering(&path);
    assert!(ask(&path, Question::Status).await.is_ok());
    engine.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_question_is_answered_and_does_no_harm() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let engine = answering(&path);
    for line in [
        &b"shell\n"[..],
        b"{\"ask\":\"shell\"}\n",
        b"{\"ask\":\"release\"}\n",
    ] {
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        stream.write_all(line).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.contains("not a question"), "{said}");
    }
    assert!(ask(&path, Question::Status).await.is_ok());
    engine.abort();
}
