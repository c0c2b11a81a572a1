//! `make bench`: the cost of the server, as CPU time and memory of its process, compared with a bare relay.
//!
//! Each measurement starts a process of its own, the program `symple serve` or the [floor], and loads it from this one
//! over loopback. They alternate, so that other load on the machine affects both; the figure is the median of the
//! rounds. CPU time does not depend on other processes that want the CPU, but caches do: on a busy machine the ratio
//! says more than the microseconds.

#[cfg(target_os = "linux")]
mod cases;
mod floor;
#[cfg(target_os = "linux")]
mod frame;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod peers;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod subject;

fn main() {
    if std::env::args().nth(1).as_deref() == Some(floor::NAME) {
        return floor::run();
    }
    #[cfg(target_os = "linux")]
    report::run();
    #[cfg(not(target_os = "linux"))]
    eprintln!("SKIPPED: CPU time and memory are read from Linux's /proc");
}
