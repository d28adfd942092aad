//! Loom models of the mailbox and of the run queue with its wake-up protocol.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p skynet-core --release --lib models`

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::mailbox::{Mailbox, Pushed, Taken};
use crate::message::Message;
use crate::payload::Payload;
use crate::sched::idle::Idle;
use crate::sched::run_queue::{Local, RunQueues, Wake};
use crate::sched::worker::Workers;

const HANDLE: u32 = 5;

fn message(source: u32, session: i32) -> Message {
    Message::new(source, session, 0, Payload::null())
}

/// Runs the model with bounded preemptions: three threads stay explorable.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// A turn of a worker: everything there is. Returns what it read.
fn drain(mailbox: &Mailbox) -> Vec<(u32, i32)> {
    let mut got = Vec::new();
    loop {
        match mailbox.take(false) {
            Taken::Message { message, .. } => got.push((message.source, message.session)),
            Taken::Idle => return got,
            Taken::Notices(_) => {}
            Taken::Dying => panic!("nobody retires"),
        }
    }
}

/// Two senders: whoever schedules the mailbox runs it. Never two run it at a
/// time, nothing is lost, and each sender's messages stay in order.
#[test]
fn a_mailbox_is_run_by_one_and_loses_nothing() {
    explore(|| {
        let mailbox = Arc::new(Mailbox::new());
        mailbox.occupy(HANDLE);
        assert!(!mailbox.settle());
        let running = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(loom::sync::Mutex::new(Vec::new()));
        let senders: Vec<_> = (1..=2)
            .map(|source| {
                let (mailbox, running, seen) = (mailbox.clone(), running.clone(), seen.clone());
                thread::spawn(move || {
                    for session in 1..=2 {
                        let pushed = mailbox
                            .push(HANDLE, message(source, session))
                            .unwrap_or_else(|_| panic!("alive"));
                        if matches!(pushed, Pushed::Schedule) {
                            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "two run it");
                            drain_counted(&mailbox, &running, &seen);
                        }
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.join().unwrap();
        }
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 4, "lost messages");
        for source in 1..=2 {
            let order: Vec<_> = seen.iter().filter(|m| m.0 == source).map(|m| m.1).collect();
            assert_eq!(order, [1, 2]);
        }
    });
}

/// Like [`drain`], but gives the running mark back before the mailbox can be scheduled again.
fn drain_counted(
    mailbox: &Mailbox,
    running: &AtomicUsize,
    seen: &loom::sync::Mutex<Vec<(u32, i32)>>,
) {
    loop {
        match mailbox.take(false) {
            Taken::Message { message, .. } => {
                seen.lock().unwrap().push((message.source, message.session));
                running.fetch_sub(1, Ordering::SeqCst);
                if !mailbox.settle() {
                    return;
                }
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "two run it");
            }
            Taken::Idle => panic!("it was scheduled with a message"),
            Taken::Notices(_) | Taken::Dying => panic!("neither notices nor death here"),
        }
    }
}

/// A message that races with `retire` is either refused or found by the releasing worker.
#[test]
fn a_push_that_races_with_death_is_refused_or_answered() {
    explore(|| {
        let mailbox = Arc::new(Mailbox::new());
        mailbox.occupy(HANDLE);
        assert!(!mailbox.settle());
        let sender = {
            let mailbox = mailbox.clone();
            thread::spawn(move || match mailbox.push(HANDLE, message(1, 1)) {
                Ok(Pushed::Schedule) => (true, true),
                Ok(Pushed::Queued) => (true, false),
                Err(_) => (false, false),
            })
        };
        let by_retire = matches!(mailbox.retire(HANDLE), Some(Pushed::Schedule));
        let (accepted, by_push) = sender.join().unwrap();
        assert!(by_retire != by_push, "scheduled exactly once");
        assert!(matches!(mailbox.take(false), Taken::Dying));
        assert_eq!(mailbox.take_rest().len(), usize::from(accepted));
        mailbox.vacate();
    });
}

/// Tasks put in from outside reach a worker that was about to sleep (loom
/// reports a deadlock if one is lost).
#[test]
fn an_injected_task_wakes_a_worker() {
    explore(|| {
        let queues = Arc::new((RunQueues::new(1), Idle::new(1)));
        let pusher = {
            let queues = queues.clone();
            thread::spawn(move || {
                for task in 1..=2 {
                    queues.0.inject(task);
                    queues.1.wake_one();
                }
            })
        };
        let mut local = Local::new(0);
        let mut searching = false;
        let mut got = 0;
        while got < 2 {
            if queues.0.next(&mut local).is_some() {
                got += 1;
                if std::mem::take(&mut searching) && queues.1.end_search() && queues.0.has_work() {
                    queues.1.wake_one();
                }
                continue;
            }
            queues.1.enlist(0);
            if std::mem::take(&mut searching) {
                queues.1.end_search();
            }
            if queues.0.has_work() {
                searching = !queues.1.delist(0);
                if searching {
                    queues.1.park(0, None);
                }
                continue;
            }
            searching = queues.1.park(0, None);
        }
        pusher.join().unwrap();
    });
}

/// The real worker loop's search, with two workers and one pusher: both tasks are found.
#[test]
fn two_workers_find_all_injected_tasks() {
    explore(|| {
        let workers = Arc::new(Workers::new(2));
        let found = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|index| {
                let (workers, found) = (workers.clone(), found.clone());
                thread::spawn(move || {
                    let mut local = Local::new(index);
                    while let Some(task) = workers.next(&mut local, index) {
                        if found.fetch_add(task, Ordering::SeqCst) + task == 3 {
                            workers.stop();
                        }
                    }
                })
            })
            .collect();
        for task in 1..=2 {
            workers.inject(task);
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(found.load(Ordering::SeqCst), 3);
    });
}

/// A task put into a worker's slot while the last watcher retires: afterwards
/// somebody watches, or has been woken to look.
#[test]
fn a_filled_slot_always_has_a_watcher() {
    explore(|| {
        let shared = Arc::new((RunQueues::new(2), Idle::new(2)));
        assert!(shared.1.become_watcher(1));
        let pusher = {
            let shared = shared.clone();
            thread::spawn(move || {
                assert_eq!(shared.0.push_woken(0, 7), Wake::Watch);
                shared.1.want_watcher();
            })
        };
        // Worker 1 retires: the end of `Workers::watch_on`, then parks if nobody woke it.
        shared.1.enlist(1);
        shared.1.stop_watching(1);
        let stays = shared.0.has_slot_work() && shared.1.become_watcher(1);
        pusher.join().unwrap();
        if !stays {
            // It parks for good now: the pusher must have woken it.
            assert!(!shared.1.delist(1), "the slot is filled and nobody looks");
        }
    });
}

#[test]
fn drain_reads_everything() {
    loom::model(|| {
        let mailbox = Mailbox::new();
        mailbox.occupy(HANDLE);
        mailbox
            .push(HANDLE, message(1, 1))
            .unwrap_or_else(|_| panic!("alive"));
        assert_eq!(drain(&mailbox), [(1, 1)]);
    });
}
