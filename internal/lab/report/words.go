package report

// Language is what a report is written in.
type Language string

// The languages.
const (
	English Language = "en"
	Chinese Language = "zh"
)

// phrase is the same words in both languages.
type phrase struct{ en, zh string }

func (p phrase) in(l Language) string {
	if l == Chinese {
		return p.zh
	}
	return p.en
}

// The words of table and report.
var words = map[string]phrase{
	"title":        {"Continuity run", "业务连续性运行报告"},
	"pass":         {"passed", "通过"},
	"fail":         {"FAILED", "未通过"},
	"estate":       {"Estate", "资产环境"},
	"step":         {"step", "步骤"},
	"mode":         {"mode", "模式"},
	"takeover":     {"takeover", "主动接管"},
	"failover":     {"failover", "故障切换"},
	"emergency":    {"emergency", "紧急切换"},
	"switch-back":  {"switch-back", "回切"},
	"drill":        {"drill", "演练"},
	"steady":       {"load only", "仅负载"},
	"gap":          {"write gap", "写中断"},
	"pause":        {"write pause", "写暂停"},
	"held":         {"held", "挂起"},
	"replayed":     {"replayed", "重放"},
	"errors":       {"errors", "错误"},
	"reconnects":   {"reconnects", "重连"},
	"acknowledged": {"acknowledged", "已确认"},
	"lost":         {"lost", "丢失"},
	"doubled":      {"doubled", "重复"},
	"exact":        {"RPO exact", "RPO 一致"},
	"money":        {"money conserved", "资金守恒"},
	"yes":          {"yes", "是"},
	"no":           {"NO", "否"},
	"accepted":     {"accepted", "已接受"},
	"resent":       {"sent again", "已补发"},
	"all":          {"all steps", "全部步骤"},
	"old":          {"writes in an old epoch", "旧纪元写入"},
	"low":          {"below 100 acknowledged writes/s of a unit: the gap says more about the load than about the product", "单元每秒确认写入低于 100 笔：中断时长主要反映负载"},
	"findings":     {"Findings", "发现项"},
	"none":         {"Nothing was found that breaks a promise.", "未发现违反承诺的情况。"},
	"finding":      {"finding", "发现"},
	"what":         {"what", "说明"},
	"count":        {"count", "数量"},
	"more":         {"more of the same name are only counted", "同名其余仅计数"},
	"timeline":     {"Acknowledged writes per second", "每秒已确认写入"},
	"faults":       {"Faults", "故障注入"},
	"fault":        {"fault", "故障"},
	"target":       {"target", "目标"},
	"from":         {"from", "开始"},
	"until":        {"until", "结束"},
	"skipped":      {"not possible here", "此处无法执行"},
	"units":        {"By unit", "分单元"},
	"unit":         {"unit", "单元"},
	"rate":         {"writes/s", "写入/秒"},
	"switches":     {"changes of owner", "所有权变更"},
	"inside":       {"errors inside a cut-off site", "被隔离站点内错误"},
	"readerrors":   {"errors of reads", "读错误"},
	"longest":      {"longest hold", "最长挂起"},
	"refused":      {"refused by the business", "业务拒绝"},
	"locked":       {"of them 423 (account in quarantine)", "其中 423（账户隔离）"},
	"diverged":     {"diverged, listed", "已列分叉交易"},
	"basis":        {"judged by", "依据"},
	"moneyhead":    {"Money", "资金"},
	"opening":      {"customers opened with", "客户期初余额"},
	"outside":      {"came in from outside, net", "外部净流入"},
	"inflight":     {"in flight between units", "单元间在途"},
	"balances":     {"customers hold", "客户期末余额"},
	"explained":    {"explained by an accepted loss", "由已接受的损失解释"},
	"entries":      {"journal entries", "业务流水笔数"},
	"accounts":     {"accounts", "账户"},
	"looked":       {"What was looked at", "检查范围"},
	"calls":        {"calls", "调用"},
	"records":      {"idempotency records", "幂等记录"},
	"reads":        {"balance reads", "余额查询"},
	"checked":      {"of them compared with the journal", "其中与流水核对"},
	"unresolved":   {"writes without an answer to the end (either outcome is right)", "最终无应答写入（两种结果均可）"},
	"unsent":       {"calls the generator could not send in time", "负载器未能按时发出的调用"},
	"seed":         {"seed", "种子"},
	"how":          {"How to read it", "阅读说明"},
	"howgap":       {"The write gap is the longest time between two acknowledged writes of one unit as its clients saw it. The write pause is the time from the last acknowledgement of the old owner to the first of the new one.", "写中断：客户端所见同一单元两次确认写入之间的最长时间。写暂停：旧所有者最后一次确认到新所有者第一次确认之间的时间。"},
	"howerr":       {"An error is a 5xx answer, a wrong 4xx, or no success within 10 s of first sending. A reset or unreachable gateway is a reconnect. Clients inside a cut-off site are counted apart.", "错误：5xx 应答、不当的 4xx，或首次发送 10 秒内未成功。网关重置或不可达计为重连。被隔离站点内的客户端单独统计。"},
	"howlost":      {"Lost is acknowledged and not at the final owner; sent again is what an accepted loss took away and people brought back, each with its own key. Everything here is computed from the recorded history and the databases, not by whoever ran the story.", "丢失：已确认而最终所有者处不存在；已补发：在已接受的损失中丢失、随后由人员以原幂等键逐笔重新提交。所有数字均由运行历史记录与数据库计算得出，与剧本执行者无关。"},
	// What the RPO was judged by, as the checker says it.
	"copy of the former owner's directory": {"copy of the former owner's directory", "原所有者数据目录副本"},
	"what clients saw":                     {"what clients saw", "客户端所见"},
	"planned: nothing may differ":          {"planned: nothing may differ", "计划内：不得有差异"},
	"estimate against the loss":            {"estimate against the loss", "损失估计与实际对比"},
	"no switch":                            {"no switch", "无切换"},
	"former owner not seen again":          {"former owner not seen again", "原所有者未返回"},

	"details": {"By step", "分步骤"},
	"phases":  {"parts of the planned switch", "计划切换各阶段"},
	"hold":    {"hold", "挂起"},
	"drain":   {"drain", "排空"},
	"decide":  {"decide", "决定"},
	"sever":   {"sever", "断开复制"},
	"promote": {"promote", "提升"},
	"flip":    {"flip", "路由翻转"},
	"grow":    {"grow (no write waits)", "同步副本集恢复（写入不等待）"},

	// What the faults of a story are called, and what they were on.
	"kill":         {"kill", "杀死进程"},
	"crash":        {"crash", "崩溃"},
	"freeze":       {"freeze", "冻结"},
	"stop":         {"stop", "冻结"},
	"cut":          {"cut", "切断"},
	"one-way cut":  {"one-way cut", "单向切断"},
	"loss":         {"loss", "丢包"},
	"one-way loss": {"one-way loss", "单向丢包"},
	"terminate":    {"terminate", "终止会话"},
	"cancel":       {"cancel", "取消语句"},
	"restart":      {"restart", "重启"},
	"fill":         {"fill", "写满磁盘"},
	"starve":       {"starve", "抢占处理器"},
	"stall":        {"stall", "磁盘停顿"},
	"deadlock":     {"deadlock", "死锁"},
	"site":         {"site", "站点"},
	"database":     {"database", "数据库"},
	"process":      {"process", "进程"},
	"disk":         {"disk", "磁盘"},
	"agent":        {"agent", "代理"},
	"backend":      {"backend", "会话进程"},
	"backends":     {"backends", "会话进程"},
	"of":           {"of", "属于"},

	"page":    {"report, to open in a browser", "报告（用浏览器打开）"},
	"summary": {"figures, for programs", "数据（供程序读取）"},
	"problem": {"The run did not end as it must", "运行未按要求结束"},
	"took":    {"from the first load to the verdict", "首次加载到判定用时"},
	"within":  {"at most", "上限"},
}

func word(key string, l Language) string {
	if p, ok := words[key]; ok {
		return p.in(l)
	}
	return key
}
