package document

import (
	"fmt"
	"strings"
	"time"
)

// Language is that of a document.
type Language string

// The closed list of languages.
const (
	English Language = "en"
	Chinese Language = "zh-CN"
)

// catalogue are the texts of one language. Words of closed lists stand behind what they are: "mode.drill".
type catalogue map[string]string

func textsOf(l Language) catalogue {
	if l == Chinese {
		return chinese
	}
	return english
}

// say gives a text with its arguments filled in.
func (c catalogue) say(key string, args ...any) string {
	text, ok := c[key]
	if !ok {
		panic("document: there is no text " + key)
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// word is the text of a word of a closed list; the word itself where a later version wrote it.
func (c catalogue) word(list, word string) string {
	if text, ok := c[list+"."+word]; ok {
		return text
	}
	return word
}

// took writes a duration to the millisecond.
func (c catalogue) took(d time.Duration) string {
	if d < 0 {
		return "-" + c.took(-d)
	}
	d = d.Round(time.Millisecond)
	var parts []string
	if h := d / time.Hour; h > 0 {
		parts = append(parts, c.say("unit.h", h))
	}
	if m := d % time.Hour / time.Minute; m > 0 || len(parts) > 0 {
		parts = append(parts, c.say("unit.min", m))
	}
	parts = append(parts, c.say("unit.s", (d%time.Minute).Seconds()))
	return strings.Join(parts, " ")
}

var english = catalogue{
	"title.drill": "Drill record", "title.switch": "Switch report", "title.run": "Run report",
	"subtitle": "%s, mode %s, run %s", "tabletop": "%s (tabletop)",

	"summary": "Summary", "parameters": "Parameters", "clocks": "Five clocks", "steps": "Steps", "people": "People", "deviations": "Deviations",
	"path": "Critical path", "undoing": "Undoing", "evidence": "Evidence",

	"run": "Run", "plan": "Plan", "mode": "Mode", "startedBy": "Started by", "reason": "Reason", "start": "Start", "end": "End",
	"outcome": "Outcome", "asOf": "As of", "entryOf": "entry %d of the journal, %s", "notOver": "not over", "zone": "Time zone", "disruptedAt": "Service disrupted", "detectedAt": "Disruption detected",
	"duration": "Duration", "rto.disruption": "Recovery time from the disruption", "rto.start": "Recovery time from the start of the run", "target": "Recovery time objective",
	"verdict": "Objective", "met": "met", "missed": "missed", "unknown": "not known", "counts": "Steps settled", "of": "%d of %d",

	"clock": "Clock", "fromTo": "From, until", "took": "Took",
	"detect": "Detect", "declare": "Declare", "decide": "Decide", "execute": "Execute", "verify": "Verify",
	"detect.is": "disruption until detection", "declare.is": "detection until the start of the run", "decide.is": "start until the first attempt of an act",
	"execute.is": "first attempt of an act until the end of the last", "verify.is": "end of the last act until the end of the last step",

	"no": "No.", "step": "Step", "kind": "Kind", "who": "Who or what", "begin": "Begin", "waitedPeople": "Waited for people", "waitedLocks": "Waited for locks", "worked": "Worked",
	"attempts": "Attempts", "error": "Error", "at": "At", "person": "Name", "what": "What", "behalf": "For", "asked": "What was asked", "said": "Said or filled in",
	"from": "From", "until": "Until", "note": "Note",
	"of.need": "%d of %s", "lock.after": "it waited for a lock that the step before held",

	"dev.failed": "attempt %d failed: %s", "dev.undoFailed": "attempt %d of the undoing failed: %s", "dev.unknown": "nobody knows what attempt %d did: %s", "dev.noEffect": "attempt %d had no effect: %s", "dev.took": "node %s took the run over",
	"dev.skipped": "%s left the step out: %s", "dev.takenOver": "%s had done the step by hand: %s", "dev.retried": "%s had the step begun again: %s", "dev.undoSkipped": "%s left the undoing out: %s", "dev.undoTakenOver": "%s had undone the step by hand: %s", "dev.undoRetried": "%s had the undoing begun again: %s", "dev.cancelled": "%s cancelled the run: %s", "dev.cancelledUndo": "%s cancelled the run, with undoing: %s", "dev.paused": "%s paused the run: %s",
	"dev.resumed": "%s had the run go on: %s", "dev.declined": "%s declined: %s", "dev.contract": "contract of the mode: %s", "dev.note": "told at the start: %s", "dev.brokeGlass": "%s decided alone (break-glass), to be reviewed: %s", "dev.rto": "recovery took %s, the objective is %s", "dev.expression": "it could not begin or end: %s",

	"ev.entries": "Entries of the journal", "ev.program": "SHA-256 of the program", "ev.journal": "SHA-256 of the journal", "ev.origin": "Evidence log", "ev.leaves": "Entries in the log",
	"more": "%s … (%d more characters stand in the journal)", "page": "Page",
	"unit.h": "%d h", "unit.min": "%d min", "unit.s": "%.3f s", "yes": "yes", "false": "no",

	"mode.drill": "simulated drill", "mode.takeover": "planned takeover", "mode.emergency": "emergency switch", "mode.switch-back": "switch-back", "mode.failover": "failover", "mode.move": "move",
	"mode.experiment": "experiment", "mode.verification": "restore verification", "mode.inspection": "inspection", "mode.change": "change",
	"kind.act": "act", "kind.check": "check", "kind.manual": "task", "kind.approval": "approval", "kind.wait": "wait", "kind.notify": "note", "kind.subplan": "subplan",
	"status.": "not begun", "status.ready": "ready", "status.acting": "acting", "status.unknown": "in doubt", "status.pausing": "between attempts", "status.asking": "failed, a person decides", "status.open": "open", "status.inside": "under way",
	"status.done": "done", "status.passed": "passed over", "status.skipped": "left out", "status.bypassed": "branch not chosen", "status.declined": "declined", "status.failed": "failed, the run went on", "status.dropped": "not done any more",
	"outcome.done": "done", "outcome.declined": "declined", "outcome.undone": "undone", "outcome.cancelled": "cancelled",
	"said.started": "started the run", "said.paused": "paused the run", "said.resumed": "had it go on", "said.retried": "had it begun again", "said.skipped": "left it out", "said.takenOver": "did it by hand", "said.cancelled": "cancelled the run", "said.approved": "approved", "said.declined": "declined", "said.completed": "completed the task", "said.delegated": "gave the voice on", "said.addedApprover": "asked one more", "said.brokeGlass": "decided alone, in an emergency (break-glass)", "said.reviewed": "reviewed the break-glass",
	"said.to":   "to %s",
	"said.undo": "%s (the undoing)",
}

var chinese = catalogue{
	"title.drill": "演练记录", "title.switch": "切换报告", "title.run": "执行报告",
	"subtitle": "%s，模式：%s，执行 %s", "tabletop": "%s（桌面推演）",

	"summary": "概要", "parameters": "参数", "clocks": "五个时钟", "steps": "步骤", "people": "人员", "deviations": "偏差",
	"path": "关键路径", "undoing": "撤销", "evidence": "证据",

	"run": "执行", "plan": "预案", "mode": "模式", "startedBy": "发起人", "reason": "原因", "start": "开始", "end": "结束",
	"outcome": "结果", "asOf": "截至", "entryOf": "日志第 %d 条，%s", "notOver": "尚未结束", "zone": "时区", "disruptedAt": "业务中断", "detectedAt": "发现中断",
	"duration": "历时", "rto.disruption": "恢复时间（自中断起）", "rto.start": "恢复时间（自执行开始起）", "target": "恢复时间目标",
	"verdict": "目标", "met": "达成", "missed": "未达成", "unknown": "未知", "counts": "已完结步骤", "of": "%d / %d",

	"clock": "时钟", "fromTo": "起止", "took": "用时",
	"detect": "发现", "declare": "宣告", "decide": "决策", "execute": "执行", "verify": "验证",
	"detect.is": "中断至发现", "declare.is": "发现至执行开始", "decide.is": "开始至首个操作的首次尝试",
	"execute.is": "首个操作的首次尝试至末个操作结束", "verify.is": "末个操作结束至末个步骤结束",

	"no": "序号", "step": "步骤", "kind": "类型", "who": "人员或对象", "begin": "开始", "waitedPeople": "等待人工", "waitedLocks": "等待锁", "worked": "工作",
	"attempts": "尝试", "error": "错误", "at": "时间", "person": "姓名", "what": "事项", "behalf": "代表", "asked": "所问事项", "said": "说明或填报",
	"from": "自", "until": "至", "note": "备注",
	"of.need": "%d 人：%s", "lock.after": "等待上一步骤所持的锁",

	"dev.failed": "第 %d 次尝试失败：%s", "dev.undoFailed": "第 %d 次撤销失败：%s", "dev.unknown": "第 %d 次尝试的效果未知：%s", "dev.noEffect": "第 %d 次尝试没有效果：%s", "dev.took": "节点 %s 接续执行",
	"dev.skipped": "%s 略过此步骤：%s", "dev.takenOver": "%s 已人工完成此步骤：%s", "dev.retried": "%s 重新开始此步骤：%s", "dev.undoSkipped": "%s 略过撤销：%s", "dev.undoTakenOver": "%s 已人工撤销此步骤：%s", "dev.undoRetried": "%s 重新开始撤销：%s", "dev.cancelled": "%s 取消执行：%s", "dev.cancelledUndo": "%s 取消执行并撤销：%s", "dev.paused": "%s 暂停执行：%s",
	"dev.resumed": "%s 恢复执行：%s", "dev.declined": "%s 否决：%s", "dev.contract": "模式约束：%s", "dev.note": "发起时提示：%s", "dev.brokeGlass": "%s 单人放行（破窗），须复核：%s", "dev.rto": "恢复用时 %s，目标为 %s", "dev.expression": "未能开始或结束：%s",

	"ev.entries": "日志条目", "ev.program": "程序 SHA-256", "ev.journal": "日志 SHA-256", "ev.origin": "证据日志", "ev.leaves": "证据日志中的条目",
	"more": "%s …（其余 %d 个字符见日志）", "page": "页",
	"unit.h": "%d 小时", "unit.min": "%d 分", "unit.s": "%.3f 秒", "yes": "是", "false": "否",

	"mode.drill": "模拟演练", "mode.takeover": "主动接管", "mode.emergency": "紧急切换", "mode.switch-back": "回切", "mode.failover": "故障切换", "mode.move": "迁移",
	"mode.experiment": "混沌试验", "mode.verification": "恢复验证", "mode.inspection": "巡检", "mode.change": "变更",
	"kind.act": "操作", "kind.check": "检查", "kind.manual": "任务", "kind.approval": "审批", "kind.wait": "等待", "kind.notify": "通知", "kind.subplan": "子预案",
	"status.": "未开始", "status.ready": "就绪", "status.acting": "执行中", "status.unknown": "结果不明", "status.pausing": "等待重试", "status.asking": "失败，待人决定", "status.open": "进行中", "status.inside": "进行中",
	"status.done": "完成", "status.passed": "跳过", "status.skipped": "略过", "status.bypassed": "未走此分支", "status.declined": "否决", "status.failed": "失败，继续执行", "status.dropped": "不再执行",
	"outcome.done": "完成", "outcome.declined": "被否决", "outcome.undone": "已撤销", "outcome.cancelled": "已取消",
	"said.started": "发起执行", "said.paused": "暂停执行", "said.resumed": "恢复执行", "said.retried": "重新开始", "said.skipped": "略过", "said.takenOver": "人工完成", "said.cancelled": "取消执行", "said.approved": "同意", "said.declined": "否决", "said.completed": "完成任务", "said.delegated": "委托审批", "said.addedApprover": "增加审批人", "said.brokeGlass": "紧急单人放行（破窗）", "said.reviewed": "复核破窗放行",
	"said.to":   "委托给 %s",
	"said.undo": "%s（撤销）",
}
