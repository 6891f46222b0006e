"""The texts of messages in each language."""

from app.formats.format import Language

# Placeholders are in braces; values are inserted as they are, braces in them included.
TEXTS: dict[str, tuple[str, str]] = {
    "job.succeeded": ("Job succeeded: {subject}", "任务成功：{subject}"),
    "job.failed": ("Job failed: {subject}", "任务失败：{subject}"),
    "job.lost": ("Job lost: {subject}", "任务丢失：{subject}"),
    "job.overdue": ("Job overdue: {subject}", "任务超时：{subject}"),
    "job.lost.why": (
        "CPH does not know this job, or no longer knows it. Its result is unknown.",
        "云手机服务查不到该任务，无法得知其结果。",
    ),
    "job.overdue.why": ("Its deadline passed before CPH showed its end.", "截止时间已到，尚未得知任务结果。"),
    "still_running": ("It was still running when its deadline passed.", "截止时间已到，任务仍在运行。"),
    "never_seen": ("CPH does not know this job. Its result is unknown.", "云手机服务查不到该任务，无法得知其结果。"),
    "not_listed": (
        "CPH does not list this job, or no longer does. Its result is unknown.",
        "云手机服务未列出或不再列出该任务，无法得知其结果。",
    ),
    "cph_unreachable": (
        "CPH did not answer before its deadline. Its result is unknown.",
        "截止时间前云手机服务没有应答，无法得知任务结果。",
    ),
    "cph_refused": (
        "CPH refused to tell the bridge about it. Its result is unknown.",
        "云手机服务拒绝了查询，无法得知任务结果。",
    ),
    "cph_throttled": (
        "CPH's rate limit left no call for it before its deadline. Its result is unknown.",
        "因云手机服务限流，截止时间前未能查询，无法得知任务结果。",
    ),
    "unreadable": (
        "CPH's answers about it could not be read. Its result is unknown.",
        "云手机服务的应答无法解析，无法得知任务结果。",
    ),
    "group.finished": ("{total} jobs have ended: {counts}", "{total} 个任务已结束：{counts}"),
    "group.finished.one": ("1 job has ended: {counts}", "1 个任务已结束：{counts}"),
    "callback.test": ("Test: messages from the bridge arrive here", "测试：通知可以送达此处"),
    "callback.test.why": ("No job has ended; there is nothing to do.", "没有任务结束，无需处理。"),
    "destination.disabled": ("Callbacks stopped: {subject}", "回调已停用：{subject}"),
    "destination.disabled.why": (
        "Every attempt has failed. Pending callbacks are on hold until somebody resumes this destination.",
        "所有尝试均失败。待发送的回调已保留，恢复后继续发送。",
    ),
    "destination.reopened": ("Callbacks resumed: {subject}", "回调已恢复：{subject}"),
    "destination.reopened.why": ("Callbacks that were on hold are being sent now.", "保留的回调正在发送。"),
    "digest": ("{total} messages: {counts}", "{total} 条通知：{counts}"),
    "succeeded": ("{n} succeeded", "{n} 个成功"),
    "failed": ("{n} failed", "{n} 个失败"),
    "lost": ("{n} lost", "{n} 个丢失"),
    "overdue": ("{n} overdue", "{n} 个超时"),
    "group": ("{n} about groups", "{n} 条任务组通知"),
    "other": ("{n} about the bridge", "{n} 条系统通知"),
    "comma": (", ", "，"),
    "colon": (": ", "："),
    "phone": ("phone {id}", "云手机 {id}"),
    "server": ("server {id}", "服务器 {id}"),
    "job": ("job {id}", "任务 {id}"),
    "request": ("a job of request {id}", "请求 {id} 的任务"),
    "nameless": ("a job without an id", "无编号任务"),
    "Error": ("Error", "错误"),
    "Last error": ("Last error", "最近错误"),
    "Last answer": ("Last answer", "最近应答"),
    "Took": ("Took", "用时"),
    "Server": ("Server", "服务器"),
    "Job": ("Job", "任务"),
    "Request": ("Request", "请求"),
    "Project": ("Project", "项目"),
    "Registration": ("Registration", "登记"),
    "Tenant": ("Tenant", "租户"),
    "Since": ("Since", "起始时间"),
    "Failures": ("Failures", "失败次数"),
    "Held": ("Held", "保留数"),
    "more": ("and {n} more", "另有 {n} 个"),
    "open": ("Open", "查看"),
    "days": ("{n} d", "{n} 天"),
    "hours": ("{n} h", "{n} 小时"),
    "minutes": ("{n} min", "{n} 分"),
    "seconds": ("{n} s", "{n} 秒"),
}
COLUMNS = {Language.EN: 0, Language.ZH_CN: 1}


def translate(language: Language, key: str, **values: object) -> str:
    return TEXTS[key][COLUMNS[language]].format_map(values)
