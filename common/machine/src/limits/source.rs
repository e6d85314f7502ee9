//! A limit and who set it.

use std::fmt;

/// Who set a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A setting of the program.
    Setting,
    /// The machine, as far as the process may run on it.
    Machine,
    /// A control group.
    Cgroup,
    /// The limits of the ECS task.
    Task,
    /// The limits of the container in the ECS task.
    Container,
    /// The limit of the host on the data of this process.
    Data,
    /// The limit of the host on the address space of this process.
    AddressSpace,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Setting => "setting",
            Self::Machine => "machine",
            Self::Cgroup => "cgroup",
            Self::Task => "ECS task",
            Self::Container => "ECS container",
            Self::Data => "ulimit -d, RLIMIT_DATA",
            Self::AddressSpace => "ulimit -v, RLIMIT_AS",
        })
    }
}

/// A limit and who set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit<T> {
    /// The limit.
    pub value: T,
    /// Who set it.
    pub source: Source,
}
