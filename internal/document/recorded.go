package document

import (
	"fmt"
	"regexp"
	"strings"
)

// languageKey is the text that says of which language a catalogue is.
const languageKey = "language"

// Recorded says a sentence in the language that journals and programs keep in English: a note of a start, or how a plan breaks the contract of its mode. The
// record itself stays as it is. What is not known, such as a sentence of a later version, and what people wrote stand as they are.
func (l Language) Recorded(text string) string { return textsOf(l).recorded(text) }

func (c catalogue) recorded(text string) string {
	if c[languageKey] == string(English) {
		return text
	}
	for _, s := range sentences {
		m := s.form.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		args := make([]any, len(m)-1)
		for i, kind := range s.kinds {
			switch part := m[i+1]; kind {
			case "m":
				args[i] = c.word("mode", part)
			case "r":
				args[i] = c.recordedAll(part)
			default:
				args[i] = part
			}
		}
		return fmt.Sprintf(s.chinese, args...)
	}
	return text
}

// recordedAll is for sentences that stand behind each other.
func (c catalogue) recordedAll(text string) string {
	if whole := c.recorded(text); whole != text {
		return whole
	}
	parts := strings.Split(text, "; ")
	for i := range parts {
		parts[i] = c.recorded(parts[i])
	}
	return strings.Join(parts, "；")
}

// sentence is one that is kept in English. What is in it stands for %s, a mode for %m, and other sentences for %r; its Chinese text counts them from 1.
type sentence struct {
	form    *regexp.Regexp
	kinds   []string
	chinese string
}

func sentenceOf(english, chinese string) sentence {
	s := sentence{chinese: chinese}
	var form strings.Builder
	form.WriteString("^")
	for {
		before, after, more := strings.Cut(english, "%")
		form.WriteString(regexp.QuoteMeta(before))
		if !more {
			break
		}
		kind := after[:1]
		s.kinds, english = append(s.kinds, kind), after[1:]
		form.WriteString(map[string]string{"s": `(.+?)`, "m": `([A-Za-z-]+)`, "r": `(.+)`}[kind])
	}
	s.form = regexp.MustCompile(form.String() + "$")
	return s
}

// sentences are tried in their order: the longer one of two that begin alike stands first.
var sentences = func() []sentence {
	var out []sentence
	for _, one := range [][2]string{
		// Calendars.
		{"there is no calendar: no window, freeze or cut-off was looked at", "没有日历：未检查窗口、封网期与日切"},
		{"the calendars cannot be read, so nothing was checked: %s", "日历无法读取，未作检查：%[1]s"},
		{"an emergency waits for nothing, but %r", "紧急切换不等待；但%[1]s"},
		{"freeze %s forbids mode %m until %s (%s)", "封网期 %[1]s 在 %[3]s 之前禁止%[2]s（%[4]s）"},
		{"no window of the calendars is for plan %s in mode %m", "日历中没有适用于预案 %[1]s（%[2]s）的窗口"},
		{"no window is open for plan %s in mode %m", "预案 %[1]s（%[2]s）目前没有开放的窗口"},
		{"window %s is open and not approved (W1): a commander who does not start the run approves it (%s)", "窗口 %[1]s 已开放但未批准（W1）：由非发起人的指挥批准（%[2]s）"},
		{"window %s was approved by %s alone, and who approves is never who starts (W2): another commander approves it (%s)", "窗口 %[1]s 仅由 %[2]s 批准，批准人不得为发起人（W2）：由另一名指挥批准（%[3]s）"},
		{"it may take %s without people, longer than until %r", "不计人员等待最长可能耗时 %[1]s，将超过 %[2]s"},
		{"it may take %s without people, longer than %r: %s, until %s", "不计人员等待最长可能耗时 %[1]s，超过%[2]s：%[3]s，至 %[4]s"},
		{"what is left of window %s", "窗口 %[1]s 的剩余时间"},
		{"what is left until freeze %s", "距封网期 %[1]s 的时间"},
		{"cut-off %s of %s in %s, at %s", "%[2]s 的日切/清算截止 %[1]s（%[3]s 后，%[4]s）"},
		{"no cut-off is known of %s", "%[1]s 未声明日切或清算截止"},
		{"no cut-off is known", "未声明日切或清算截止"},
		// The contract of a mode.
		{"the contract of mode %m is broken by step %s: %r", "步骤 %[2]s 违反%[1]s的模式约束：%[3]r"},
		{"the contract of mode %m is broken %s times more", "%[1]s的模式约束另有 %[2]s 处违反"},
		{"the contract of mode %m is broken: %r", "违反%[1]s的模式约束：%[2]s"},
		{"nobody is asked to announce the interruption to the public, which mode %m asks for: no manual task of the mode has announces: true", "%[1]s要求对外公告中断，但没有人员任务负责公告（announces: true）"},
		{"%s of driver %s %r: a run in mode %m may not", "驱动 %[2]s 的 %[1]s %[3]s，%[4]s不允许"},
		{"it leaves something behind, and no cleanup step of mode %m does %s of driver %s for %s with the same parameters, after it, on no condition (when) and without onFailure: continue", "它会留下残留，而%[1]s中没有清理步骤在其后以相同参数、无条件（when）且不带 onFailure: continue 地对 %[4]s 执行驱动 %[3]s 的 %[2]s"},
		{"it leaves something behind, and no step of mode %m is a cleanup", "它会留下残留，而%[1]s中没有清理步骤"},
		{"interrupts production", "会中断生产"},
		{"brings into use %r, where it has to be %r", "会启用%[1]s，而此处须为%[2]s"},
		{"touches production interfaces", "会触及生产接口"},
		{"connects interfaces", "会连接接口"},
		{"writes back to production", "会回写生产"},
		{"changes something", "会作出变更"},
		{"a snapshot of the replica", "副本快照"},
		{"the replica", "副本"},
		{"a backup", "备份"},
		{"live rows", "在线数据"},
		{"an in-sync copy", "同步副本"},
		{"no data", "无数据"},
		{"what the plan declares", "预案声明的数据"},
	} {
		s := sentenceOf(one[0], "")
		s.chinese = strings.ReplaceAll(one[1], "]r", "]s")
		out = append(out, s)
	}
	return out
}()
