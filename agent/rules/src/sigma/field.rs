//! The fields that rules may ask for, and which kinds of event have them.

/// What kind of thing a rule is about: Sigma's `logsource.category`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Category {
    ProcessCreation,
    NetworkConnection,
    DnsQuery,
    FileEvent,
    FileChange,
    FileRename,
    FileDelete,
    FileAccess,
    FileRates,
}

impl Category {
    pub(crate) const ALL: [(&'static str, Self); 9] = [
        ("process_creation", Self::ProcessCreation),
        ("network_connection", Self::NetworkConnection),
        ("dns_query", Self::DnsQuery),
        ("file_event", Self::FileEvent),
        ("file_change", Self::FileChange),
        ("file_rename", Self::FileRename),
        ("file_delete", Self::FileDelete),
        ("file_access", Self::FileAccess),
        ("cordon_file_rates", Self::FileRates),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(known, _)| *known == name).map(|(_, one)| *one)
    }

    pub(crate) fn names() -> String {
        Self::ALL.map(|(name, _)| name).join(", ")
    }
}

macro_rules! fields {
    ($($name:literal $field:ident $group:ident,)*) => {
        /// A field of an event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub(crate) enum Field { $($field,)* }

        /// How many there are.
        pub(crate) const FIELDS: usize = [$($name,)*].len();

        const TABLE: [(&str, Field, Group); FIELDS] = [$(($name, Field::$field, Group::$group),)*];
    };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    /// Of the process that did it: in every event.
    Subject,
    Network,
    Dns,
    File,
    Rates,
}

fields! {
    "Image" Image Subject,
    "CommandLine" CommandLine Subject,
    "CurrentDirectory" CurrentDirectory Subject,
    "User" User Subject,
    "ParentImage" ParentImage Subject,
    "ParentCommandLine" ParentCommandLine Subject,
    "ParentUser" ParentUser Subject,
    "Cordon.GrandparentImage" GrandparentImage Subject,
    "Cordon.Script" Script Subject,
    "Cordon.Stdin" Stdin Subject,
    "Cordon.Stdout" Stdout Subject,
    "Cordon.Stderr" Stderr Subject,
    "Cordon.Tty" Tty Subject,
    "Cordon.EffectiveUser" EffectiveUser Subject,
    "Cordon.LoginUser" LoginUser Subject,
    "Cordon.Environment" Environment Subject,
    "Cordon.Package" Package Subject,
    "Cordon.Memfd" Memfd Subject,
    "Cordon.DeletedImage" DeletedImage Subject,
    "Cordon.WorldWritableImage" WorldWritableImage Subject,
    "Cordon.FirstSeen" FirstSeen Subject,
    "Cordon.Container" Container Subject,
    "DestinationIp" DestinationIp Network,
    "DestinationPort" DestinationPort Network,
    "SourceIp" SourceIp Network,
    "SourcePort" SourcePort Network,
    "Initiated" Initiated Network,
    "Protocol" Protocol Network,
    "Cordon.Direction" Direction Network,
    "QueryName" QueryName Dns,
    "TargetFilename" TargetFilename File,
    "SourceFilename" SourceFilename File,
    "Cordon.Operation" Operation File,
    "Cordon.Sensitivity" Sensitivity File,
    "Cordon.FilesWritten" FilesWritten Rates,
    "Cordon.FilesRenamed" FilesRenamed Rates,
    "Cordon.FilesRemoved" FilesRemoved Rates,
    "Cordon.FilesEncrypted" FilesEncrypted Rates,
}

impl Field {
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut all = TABLE.iter();
        all.find(|(known, ..)| *known == name)
            .map(|(_, field, _)| *field)
    }

    /// Whether an event of `category` can have it.
    pub(crate) fn is_in(self, category: Category) -> bool {
        match TABLE[self as usize].2 {
            Group::Subject => true,
            Group::Network => category == Category::NetworkConnection,
            Group::Dns => category == Category::DnsQuery,
            Group::Rates => category == Category::FileRates,
            Group::File => matches!(
                category,
                Category::FileEvent
                    | Category::FileChange
                    | Category::FileRename
                    | Category::FileDelete
                    | Category::FileAccess
            ),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        TABLE[self as usize].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_name_in_its_own_place() {
        for (at, (name, field, _)) in TABLE.iter().enumerate() {
            assert_eq!((*field as usize, Field::named(name)), (at, Some(*field)));
        }
        assert!(!Field::QueryName.is_in(Category::ProcessCreation));
        assert!(Field::Image.is_in(Category::DnsQuery));
    }
}
