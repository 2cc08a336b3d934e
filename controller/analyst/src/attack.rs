//! Names of MITRE ATT&CK tactics and of the techniques seen on Linux, in both languages.
//!
//! The list is a dictionary for people, not a rule: an id that is not in it is shown as it is.

use serde::{Deserialize, Serialize};

/// An ATT&CK tactic: what the attacker wants at this point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tactic {
    /// Getting in.
    InitialAccess,
    /// Running code.
    Execution,
    /// Staying.
    Persistence,
    /// Getting more rights.
    PrivilegeEscalation,
    /// Hiding.
    DefenseEvasion,
    /// Taking secrets.
    CredentialAccess,
    /// Looking around.
    Discovery,
    /// Moving to other hosts.
    LateralMovement,
    /// Gathering data.
    Collection,
    /// Steering the host from afar.
    CommandAndControl,
    /// Taking data away.
    Exfiltration,
    /// Destroying or extorting.
    Impact,
}

impl Tactic {
    /// The attacker has what it came for, or is on its way to other hosts.
    pub fn is_late(self) -> bool {
        matches!(
            self,
            Self::CredentialAccess | Self::LateralMovement | Self::Exfiltration | Self::Impact
        )
    }
}

/// One technique's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Technique {
    /// For example `T1059.004`.
    pub id: &'static str,
    /// The tactic under which Linux endpoints meet it most.
    pub tactic: Tactic,
    /// ATT&CK's name.
    pub en: &'static str,
    /// The usual Chinese rendering.
    pub zh: &'static str,
}

/// The technique with this id, or its parent when only that is known.
pub fn technique(id: &str) -> Option<&'static Technique> {
    let exact = |id: &str| TECHNIQUES.iter().find(|t| t.id == id);
    exact(id).or_else(|| exact(id.split_once('.')?.0))
}

/// Whether `id` has the form of a technique id, `T1234` or `T1234.567`.
pub fn is_technique_id(id: &str) -> bool {
    let digits =
        |text: &str, wanted| text.len() == wanted && text.bytes().all(|b| b.is_ascii_digit());
    let Some(number) = id.strip_prefix('T') else {
        return false;
    };
    match number.split_once('.') {
        None => digits(number, 4),
        Some((main, sub)) => digits(main, 4) && digits(sub, 3),
    }
}

const fn t(id: &'static str, tactic: Tactic, en: &'static str, zh: &'static str) -> Technique {
    Technique { id, tactic, en, zh }
}

use Tactic::{
    Collection, CommandAndControl, CredentialAccess, DefenseEvasion, Discovery, Execution,
    Exfiltration, Impact, InitialAccess, LateralMovement, Persistence, PrivilegeEscalation,
};

/// Sorted by id.
#[rustfmt::skip]
const TECHNIQUES: &[Technique] = &[
    t("T1003", CredentialAccess, "OS Credential Dumping", "操作系统凭据转储"),
    t("T1003.007", CredentialAccess, "OS Credential Dumping: Proc Filesystem", "操作系统凭据转储：proc 文件系统"),
    t("T1003.008", CredentialAccess, "OS Credential Dumping: /etc/passwd and /etc/shadow", "操作系统凭据转储：/etc/passwd 与 /etc/shadow"),
    t("T1005", Collection, "Data from Local System", "收集本地系统数据"),
    t("T1007", Discovery, "System Service Discovery", "发现系统服务"),
    t("T1014", DefenseEvasion, "Rootkit", "Rootkit"),
    t("T1016", Discovery, "System Network Configuration Discovery", "发现系统网络配置"),
    t("T1018", Discovery, "Remote System Discovery", "发现远程系统"),
    t("T1021", LateralMovement, "Remote Services", "远程服务"),
    t("T1021.004", LateralMovement, "Remote Services: SSH", "远程服务：SSH"),
    t("T1027", DefenseEvasion, "Obfuscated Files or Information", "混淆的文件或信息"),
    t("T1033", Discovery, "System Owner/User Discovery", "发现系统所有者与用户"),
    t("T1036", DefenseEvasion, "Masquerading", "伪装"),
    t("T1036.004", DefenseEvasion, "Masquerading: Masquerade Task or Service", "伪装：冒充任务或服务"),
    t("T1036.005", DefenseEvasion, "Masquerading: Match Legitimate Name or Location", "伪装：冒用合法名称或位置"),
    t("T1037.004", Persistence, "Boot or Logon Initialization Scripts: RC Scripts", "启动或登录初始化脚本：RC 脚本"),
    t("T1040", CredentialAccess, "Network Sniffing", "网络嗅探"),
    t("T1041", Exfiltration, "Exfiltration Over C2 Channel", "经命令与控制通道外传数据"),
    t("T1046", Discovery, "Network Service Discovery", "发现网络服务"),
    t("T1048", Exfiltration, "Exfiltration Over Alternative Protocol", "经其他协议外传数据"),
    t("T1049", Discovery, "System Network Connections Discovery", "发现系统网络连接"),
    t("T1053", Persistence, "Scheduled Task/Job", "计划任务"),
    t("T1053.002", Persistence, "Scheduled Task/Job: At", "计划任务：at"),
    t("T1053.003", Persistence, "Scheduled Task/Job: Cron", "计划任务：cron"),
    t("T1053.006", Persistence, "Scheduled Task/Job: Systemd Timers", "计划任务：systemd 定时器"),
    t("T1055", DefenseEvasion, "Process Injection", "进程注入"),
    t("T1057", Discovery, "Process Discovery", "发现进程"),
    t("T1059", Execution, "Command and Scripting Interpreter", "命令与脚本解释器"),
    t("T1059.004", Execution, "Command and Scripting Interpreter: Unix Shell", "命令与脚本解释器：Unix Shell"),
    t("T1059.006", Execution, "Command and Scripting Interpreter: Python", "命令与脚本解释器：Python"),
    t("T1059.007", Execution, "Command and Scripting Interpreter: JavaScript", "命令与脚本解释器：JavaScript"),
    t("T1059.011", Execution, "Command and Scripting Interpreter: Lua", "命令与脚本解释器：Lua"),
    t("T1068", PrivilegeEscalation, "Exploitation for Privilege Escalation", "利用漏洞提升权限"),
    t("T1069", Discovery, "Permission Groups Discovery", "发现权限组"),
    t("T1070", DefenseEvasion, "Indicator Removal", "清除痕迹"),
    t("T1070.002", DefenseEvasion, "Indicator Removal: Clear Linux or Mac System Logs", "清除痕迹：清除系统日志"),
    t("T1070.003", DefenseEvasion, "Indicator Removal: Clear Command History", "清除痕迹：清除命令历史"),
    t("T1070.004", DefenseEvasion, "Indicator Removal: File Deletion", "清除痕迹：删除文件"),
    t("T1070.006", DefenseEvasion, "Indicator Removal: Timestomp", "清除痕迹：篡改时间戳"),
    t("T1071", CommandAndControl, "Application Layer Protocol", "应用层协议"),
    t("T1071.001", CommandAndControl, "Application Layer Protocol: Web Protocols", "应用层协议：Web 协议"),
    t("T1071.004", CommandAndControl, "Application Layer Protocol: DNS", "应用层协议：DNS"),
    t("T1074", Collection, "Data Staged", "数据暂存"),
    t("T1078", InitialAccess, "Valid Accounts", "有效账户"),
    t("T1082", Discovery, "System Information Discovery", "发现系统信息"),
    t("T1083", Discovery, "File and Directory Discovery", "发现文件与目录"),
    t("T1087", Discovery, "Account Discovery", "发现账户"),
    t("T1090", CommandAndControl, "Proxy", "代理"),
    t("T1095", CommandAndControl, "Non-Application Layer Protocol", "非应用层协议"),
    t("T1098", Persistence, "Account Manipulation", "操纵账户"),
    t("T1098.004", Persistence, "Account Manipulation: SSH Authorized Keys", "操纵账户：SSH 授权密钥"),
    t("T1105", CommandAndControl, "Ingress Tool Transfer", "传入工具"),
    t("T1110", CredentialAccess, "Brute Force", "暴力破解"),
    t("T1113", Collection, "Screen Capture", "截屏"),
    t("T1132", CommandAndControl, "Data Encoding", "数据编码"),
    t("T1136", Persistence, "Create Account", "创建账户"),
    t("T1136.001", Persistence, "Create Account: Local Account", "创建账户：本地账户"),
    t("T1140", DefenseEvasion, "Deobfuscate/Decode Files or Information", "还原或解码文件或信息"),
    t("T1190", InitialAccess, "Exploit Public-Facing Application", "利用面向公众的应用"),
    t("T1195", InitialAccess, "Supply Chain Compromise", "供应链入侵"),
    t("T1201", Discovery, "Password Policy Discovery", "发现密码策略"),
    t("T1203", Execution, "Exploitation for Client Execution", "利用客户端漏洞执行"),
    t("T1204", Execution, "User Execution", "诱使用户执行"),
    t("T1210", LateralMovement, "Exploitation of Remote Services", "利用远程服务漏洞"),
    t("T1218", DefenseEvasion, "System Binary Proxy Execution", "借系统程序代理执行"),
    t("T1219", CommandAndControl, "Remote Access Software", "远程访问软件"),
    t("T1222", DefenseEvasion, "File and Directory Permissions Modification", "修改文件与目录权限"),
    t("T1222.002", DefenseEvasion, "Linux and Mac File and Directory Permissions Modification", "修改 Linux 文件与目录权限"),
    t("T1485", Impact, "Data Destruction", "销毁数据"),
    t("T1486", Impact, "Data Encrypted for Impact", "加密数据以造成影响"),
    t("T1489", Impact, "Service Stop", "停止服务"),
    t("T1490", Impact, "Inhibit System Recovery", "阻碍系统恢复"),
    t("T1496", Impact, "Resource Hijacking", "劫持资源"),
    t("T1498", Impact, "Network Denial of Service", "网络拒绝服务"),
    t("T1499", Impact, "Endpoint Denial of Service", "终端拒绝服务"),
    t("T1505.003", Persistence, "Server Software Component: Web Shell", "服务器软件组件：Web Shell"),
    t("T1518", Discovery, "Software Discovery", "发现软件"),
    t("T1529", Impact, "System Shutdown/Reboot", "关机或重启"),
    t("T1531", Impact, "Account Access Removal", "移除账户访问"),
    t("T1543", Persistence, "Create or Modify System Process", "创建或修改系统进程"),
    t("T1543.002", Persistence, "Create or Modify System Process: Systemd Service", "创建或修改系统进程：systemd 服务"),
    t("T1546", Persistence, "Event Triggered Execution", "事件触发执行"),
    t("T1546.004", Persistence, "Event Triggered Execution: Unix Shell Configuration Modification", "事件触发执行：修改 Unix Shell 配置"),
    t("T1547.006", Persistence, "Boot or Logon Autostart Execution: Kernel Modules and Extensions", "开机或登录自启动：内核模块与扩展"),
    t("T1548", PrivilegeEscalation, "Abuse Elevation Control Mechanism", "滥用提权机制"),
    t("T1548.001", PrivilegeEscalation, "Abuse Elevation Control Mechanism: Setuid and Setgid", "滥用提权机制：setuid 与 setgid"),
    t("T1548.003", PrivilegeEscalation, "Abuse Elevation Control Mechanism: Sudo and Sudo Caching", "滥用提权机制：sudo"),
    t("T1552", CredentialAccess, "Unsecured Credentials", "未妥善保护的凭据"),
    t("T1552.001", CredentialAccess, "Unsecured Credentials: Credentials In Files", "未妥善保护的凭据：文件中的凭据"),
    t("T1552.003", CredentialAccess, "Unsecured Credentials: Shell History", "未妥善保护的凭据：Shell 历史"),
    t("T1552.004", CredentialAccess, "Unsecured Credentials: Private Keys", "未妥善保护的凭据：私钥"),
    t("T1552.005", CredentialAccess, "Unsecured Credentials: Cloud Instance Metadata API", "未妥善保护的凭据：云主机元数据接口"),
    t("T1553", DefenseEvasion, "Subvert Trust Controls", "破坏信任机制"),
    t("T1555", CredentialAccess, "Credentials from Password Stores", "从密码库窃取凭据"),
    t("T1556", CredentialAccess, "Modify Authentication Process", "修改认证过程"),
    t("T1556.003", CredentialAccess, "Modify Authentication Process: Pluggable Authentication Modules", "修改认证过程：PAM"),
    t("T1560", Collection, "Archive Collected Data", "归档收集的数据"),
    t("T1561", Impact, "Disk Wipe", "擦除磁盘"),
    t("T1562", DefenseEvasion, "Impair Defenses", "削弱防御"),
    t("T1562.001", DefenseEvasion, "Impair Defenses: Disable or Modify Tools", "削弱防御：停用或修改工具"),
    t("T1562.003", DefenseEvasion, "Impair Defenses: Impair Command History Logging", "削弱防御：妨碍命令历史记录"),
    t("T1562.004", DefenseEvasion, "Impair Defenses: Disable or Modify System Firewall", "削弱防御：停用或修改系统防火墙"),
    t("T1564", DefenseEvasion, "Hide Artifacts", "隐藏痕迹"),
    t("T1564.001", DefenseEvasion, "Hide Artifacts: Hidden Files and Directories", "隐藏痕迹：隐藏文件与目录"),
    t("T1567", Exfiltration, "Exfiltration Over Web Service", "经 Web 服务外传数据"),
    t("T1570", LateralMovement, "Lateral Tool Transfer", "横向传送工具"),
    t("T1571", CommandAndControl, "Non-Standard Port", "非标准端口"),
    t("T1572", CommandAndControl, "Protocol Tunneling", "协议隧道"),
    t("T1573", CommandAndControl, "Encrypted Channel", "加密通道"),
    t("T1574", Persistence, "Hijack Execution Flow", "劫持执行流程"),
    t("T1574.006", Persistence, "Hijack Execution Flow: Dynamic Linker Hijacking", "劫持执行流程：劫持动态链接器"),
    t("T1595", InitialAccess, "Active Scanning", "主动扫描"),
    t("T1609", Execution, "Container Administration Command", "容器管理命令"),
    t("T1610", Execution, "Deploy Container", "部署容器"),
    t("T1611", PrivilegeEscalation, "Escape to Host", "逃逸到宿主机"),
    t("T1613", Discovery, "Container and Resource Discovery", "发现容器与资源"),
    t("T1620", DefenseEvasion, "Reflective Code Loading", "反射式代码加载"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_sorted_unique_and_well_formed() {
        assert!(TECHNIQUES.windows(2).all(|pair| pair[0].id < pair[1].id));
        for entry in TECHNIQUES {
            assert!(is_technique_id(entry.id), "{}", entry.id);
            assert!(!entry.en.is_empty() && !entry.zh.is_empty());
        }
    }

    #[test]
    fn an_unknown_sub_technique_falls_back_to_its_parent() {
        assert_eq!(technique("T1059.099").unwrap().id, "T1059");
        assert_eq!(technique("T9999"), None);
    }

    #[test]
    fn only_ids_pass_for_ids() {
        assert!(is_technique_id("T1059") && is_technique_id("T1059.004"));
        for not in [
            "",
            "T",
            "T105",
            "1059",
            "T1059.4",
            "T1059.004x",
            "<b>T1059",
            "T१०५९",
        ] {
            assert!(!is_technique_id(not), "{not}");
        }
    }
}
