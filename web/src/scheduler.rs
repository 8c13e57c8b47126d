//! How the system's scheduler treats threads.

/// Has threads that are woken wait for their turn, where they would push aside one that works (`SCHED_BATCH` of sched(7)).
///
/// A booking wakes several threads one after the other. When each takes the processor of the one that woke it, hardly any
/// finds more than one booking to work on; when it waits for a few milliseconds at most, it finds what has come meanwhile.
/// An idle processor is taken at once, as ever. It holds for the calling thread and for those that this starts from then on, so a
/// program calls it first. Nothing changes where another policy was chosen for the process, nor where the system does not let us.
pub fn take_turns() {
    #[cfg(target_os = "linux")]
    {
        use preempt_rt::sched::{Pid, Scheduler, SchedulerParams, get_scheduler, set_scheduler};
        let this = Pid::current_thread();
        if matches!(get_scheduler(this), Ok(Scheduler::SCHED_NORMAL)) {
            // Without it the process is slower, and works.
            let _ = set_scheduler(this, Scheduler::SCHED_BATCH, SchedulerParams { priority: 0 });
        }
    }
}
