package cli

// phrase names a text that people read; every phrase has both languages.
type phrase int

// text is a phrase in both languages; the verbs are the same in both, in the same order.
type text struct{ en, zh string }

// The phrases.
const (
	failed phrase = iota
	wrongCall
	refused
	notFound
	unavailable
	unauthorised
	conflict
	outcomeUnknown
	interrupted

	doubtful
	manifestGood
	noChange
	manifestApplied
	manifestOutgrown
	warningWord
	problemCount
	askApply

	needsYes
	typeWord
	notConfirmed

	estateTitle
	estateLine
	manifestLine
	noManifest
	formatLine
	readsJournals
	formatWaits
	noQuorum
	nodeCold
	nodeSuperseded
	nodeRemoved
	storeAlarms
	storeStopped
	sitesTitle
	unitsTitle
	noUnits
	switchesTitle
	colSite
	colCity
	colNode
	colGateway
	colUnit
	colSystem
	colState
	colOwner
	colEpoch
	colInSync
	colCopies
	witnessWord
	answersHere
	neverHeard
	heardAgo
	leaderWord
	tableWord
	silentFor
	unprotectedWord
	unprotectedLine
	aheadWord
	followsWord
	sinceWord
	byWord
	unknownFigure

	planTitle
	checkGood
	checkBad
	forecastLine
	rpoLine
	lossLine
	lossSource
	lossStatement
	fencingTitle
	fencedShut
	fencedReached
	fencedNot
	askSwitch
	askAccept
	abortedLine
	switchRun
	startedLine
	acceptedBy
	switchDone
	writePause

	colID
	colPerson
	colRole
	colCreated
	tokenOnce
	tokenWritten
	tokenGone
	tokenValid
	tokenUntil
	tokenExpired
	tokenRevoked

	surveyFound
	surveyStopped
	surveyRunning
	surveySessions
	surveyPutIn
	surveyChanged
	surveyDropped
	surveyUnset
	askAdopt
	adopted
	adoptedAlready

	guardInstalled
	guardGood
	guardBad
	findingWord
	fatalWord

	colMember
	colPeer
	colVote
	colVersion
	colFormats
	votes
	votesNot
	membersOutside
	evenMembers
	askJoin
	joinedLine
	askRemove
	removedLine
	reclaimedLine

	snapshotWritten
	askCold
	nodeActs

	verdictLine
	creditOnly
	askRelease
	releasedLine
	askRecover
	askRestore
	incarnationBegan
	quarantineLine

	nothingDiverged
	divergedLine
	settledWord
	nowhereWord

	findingsLine

	planGood
	planWritten
	planHead
	colStep
	colKind
	colAfter
	colLongest
	noPlans
	colPlan
	colModes
	colSteps
	colTitle
	askStart
	runStarted
	incidentDeclared
	atATable
	noRuns
	colRun
	colMode
	colStarted
	colBy
	colAsked
	runSays

	askUser
	askPassword
	askNewPassword
	askAgain
	notTheSame
	askCode
	askOldCode
	askNewCode
	loggedIn
	loggedOut
	sessionGone
	colSeen
	colExpires
	colFactor
	colRecovery
	colFrom
	factorNone
	factorSince
	factorScan
	factorCodes
	passwordChanged
	userIs
	userLocked
	userRemoved
	userWaits
	askRemoveUser
	policyOn
	policyOff
	policyAll
	askGlass
	inboxEmpty
	inboxFrom
	userBelongs
	taskAnswered
	participantsTitle
	colParticipant
	colTenant
	runAttested
	runObjected
	colContacts
	waitingFor
	answeredBy
	noDuty
	colDuty
	colOnDuty
	colThen
	dutyGap
	dutyUnable
	furtherNotice
	nobodyWord
	inPlaceOf
	inboxKnown
	inboxFiles
	inboxShown
	colSince
	colWhat
	colFor
	colText

	packWritten
	packGood
	packFacts
	stretchGood
	stretchWritten
	folderGood
	folderRuns
	folderRetired
	stretchRetired
	runPackWritten
	keptForDays
	keptForEver
	askRetire
	retiringNothing
	retiringLine
	stayingLine
	retiringProgress
	retiredLine
	reportWritten
	clockNames
	rtoFromDisruption
	rtoFromStart
	rtoTarget
	rtoMet
	rtoMissed
	pathLine
	colTook
	colPeople
	colLocks
	colWorked
	colAttempts
	preflightHead
	worstLine
	quantileLine
	noHistory
	endlessLine
	unseenLine
	missingLine
	lateAtWorst
	lateMostly
	lateSometimes
	breaksRules
	breaksAsAWhole
	looksWrong
	notLookedYet
	lookedLine
	preflightGood
	preflightSoFar

	calendarTitle
	calendarLine
	noCalendar
	askApprove
	windowApproved
	windowRevoked
	colApproved
	waitsForApproval
	waitingStatus
	waitingApply
	inWindow
	windowWaits
	windowsTitle
	freezesTitle
	cutoffsTitle
	schedulesTitle
	colWindow
	colFreeze
	colCutoff
	colSchedule
	colBegins
	colUntil
	colLeft
	colAppliesTo
	colReason
	colAt
	colLastRun
	colNext
	closedWindow
	notYet
	inForce
	inWord
	leftWord
	overdueLine
	overdueStatus

	noArmed
	colArmed
	colWorst
	colVerified
	colLooked
	armedReady
	armedUnverified
	armedFindings
	armedUnknown
	neverSince
	armedStatus
	noOrders
	ordersImported
	ordersLookedAt
	ordersDropped
	ordersProved
	orderTotals
	colReference
	colHolder
	colAccountKey
	colOrderAmount
	colTaken
	colFinding
	kindHeld
	kindDR
	orderOpen
	orderEntered
	orderDropped
	foundRefused
	foundDiffers
	foundGone
	foundIn
	droppedBy
	allUnits

	noRectifications
	nothingWrong
	itemsLine
	colEnded
	colItem
	colItems
	colAnswers
	colNotOver
	colOverdue
	colProblem
	itemCorrected
	itemClosed
	itemAccepted
	itemDone
	itemNeeds
	itemTaken
	retestPassed
	retestFailed

	noIncidents
	colIncident
	colClass
	colCause
	colFunctions
	colAffected
	colOpened
	colDisrupted
	colLacks
	colAmount
	colCustomers
	colTask
	colDue
	colTo
	tasksTitle
	colSettledBy
	detectClock
	declareClock
	recoverClock
	declaredWord
	linkedWord
	reviewedWord
	closedWord
	measuredWord
	plannedWord
	unplannedWord
	byAt
	soFar
	ofWithin
	classBy
	phaseOpen
	phaseDeclared
	phaseReviewed
	phaseOver
	phaseJoined
	joinedWord
	togetherLine
	taskPending
	taskLate
	taskDone
	taskTooLate
	taskWaived
	dueBy
	colAvailable
	colUnplanned
	colDisruptions
	colLongestGap
	colPlanned
	colFromTime
	andUnmeasured

	askPassphrase
	askNewPassphrase
	askPassphraseAgain
	askChallenge
	signsApproval
	signsRefusal
	signedBy
	asksRun
	asksStep
	asksDigest
	keyMade
	keyAdded
	keyWeak
	keyGone
	keyRevoked
	signaturesOn
	signaturesOff
	packSigned
	signOnAt
	signOnBack
	signOnStrange
	signOnDevice
	steppedUp

	phraseCount // how many there are
)

var phrases = [phraseCount]text{
	failed:         {"failed", "失败"},
	wrongCall:      {"wrong call", "用法错误"},
	refused:        {"refused", "规则不允许"},
	notFound:       {"not found", "未找到"},
	unavailable:    {"unavailable", "暂不可用"},
	unauthorised:   {"not authorised", "无权限"},
	conflict:       {"conflict", "冲突"},
	outcomeUnknown: {"outcome unknown", "结果未知"},
	interrupted:    {"interrupted", "已中断"},

	manifestOutgrown: {"the applied manifest is one that this version does not accept any more (%d problems, the first: %s); it is read as far as it goes", "当前清单已不被本版本接受（%d 个问题，首个：%s）；已按可读部分读取"},
	warningWord:      {"warning", "警告"},
	doubtful:         {"doubtful", "存疑"},
	manifestGood:     {"good: %d sites, %d systems, %d units", "通过：站点 %d 个，系统 %d 个，单元 %d 个"},
	noChange:         {"nothing to change", "无变更"},
	manifestApplied:  {"applied as revision %d", "已生效，版本 %d"},
	problemCount:     {"%d problems", "%d 个问题"},
	askApply:         {"Apply these %d changes?", "应用以上 %d 处变更？"},

	needsYes:     {"nobody can be asked here; give --yes", "此处无人可确认；请加 --yes"},
	typeWord:     {"type %s to go on", "输入 %s 继续"},
	notConfirmed: {"not confirmed; nothing was done", "未确认；未做任何操作"},

	estateTitle:     {"ESTATE", "资产全景"},
	estateLine:      {"incarnation %s, as node %s sees it at %s", "代次 %s，节点 %s 于 %s 所见"},
	readsJournals:   {"reads journals of format %s", "可读执行日志格式 %s"},
	formatLine:      {"version %s, journals in format %d", "版本 %s，执行日志格式 %d"},
	formatWaits:     {"journals stay in format %d until every node reads format %d; not yet: %s", "执行日志保持格式 %d，直到所有节点都能读取格式 %d；尚不能的节点：%s"},
	manifestLine:    {"manifest revision %d, by %s at %s", "清单版本 %d，%s 于 %s 应用"},
	noManifest:      {"no manifest is applied yet: perdure apply FILE", "尚未应用清单：perdure apply FILE"},
	noQuorum:        {"NO QUORUM: ownership cannot change; owners and gateways go on as they are", "无法定多数：归属不可变更；现有归属与网关照常运行"},
	nodeCold:        {"COLD START: this node decides nothing until it has heard from %s, or a person's word: perdure node confirm", "冷启动：在听到 %s 或人工确认（perdure node confirm）之前，本节点不作任何决定"},
	nodeRemoved:     {"TAKEN OUT: this node is no member of the control store any more", "已移出：本节点不再是控制存储的成员"},
	nodeSuperseded:  {"SUPERSEDED: this node met the higher incarnation %s and decides nothing any more", "已被取代：本节点遇到更高代次 %s，不再作任何决定"},
	storeAlarms:     {"STORE ALARM: %s", "存储告警：%s"},
	storeStopped:    {"STORE STOPPED: %s", "存储已停止：%s"},
	sitesTitle:      {"SITES", "站点"},
	unitsTitle:      {"UNITS", "单元"},
	noUnits:         {"no units yet", "尚无单元"},
	switchesTitle:   {"SWITCHES", "切换"},
	colSite:         {"site", "站点"},
	colCity:         {"city", "城市"},
	colNode:         {"node", "节点"},
	colGateway:      {"gateway", "网关"},
	colUnit:         {"unit", "单元"},
	colSystem:       {"system", "系统"},
	colState:        {"state", "状态"},
	colOwner:        {"owner", "归属"},
	colEpoch:        {"epoch", "纪元"},
	colInSync:       {"in sync", "同步副本"},
	colCopies:       {"other copies", "其他副本"},
	witnessWord:     {"witness", "见证"},
	answersHere:     {"answers", "应答"},
	neverHeard:      {"never heard", "未曾听到"},
	heardAgo:        {"heard %s ago", "%s 前听到"},
	leaderWord:      {"leader", "主"},
	tableWord:       {"table %d", "路由表 %d"},
	silentFor:       {"silent for %s", "静默 %s"},
	unprotectedWord: {"UNPROTECTED", "无保护"},
	unprotectedLine: {"UNPROTECTED: %s has no copy that acknowledges, for %s; transactions at risk: %s", "无保护：%s 没有确认副本，已持续 %s；有风险的交易：%s 笔"},
	aheadWord:       {"AHEAD, to be rewound", "超前，待回退"},
	followsWord:     {"follows", "跟随中"},
	sinceWord:       {"for %s", "已 %s"},
	byWord:          {"by %s", "由 %s"},
	unknownFigure:   {"UNKNOWN", "未知"},

	planTitle:     {"Switch of %s to %s, mode %s (replication group %s)", "切换 %s 到 %s，模式 %s（复制组 %s）"},
	checkGood:     {"ok", "通过"},
	checkBad:      {"look", "注意"},
	forecastLine:  {"forecast of the write pause: p50 %s, p95 %s (from %s)", "预计写暂停：p50 %s，p95 %s（依据：%s）"},
	rpoLine:       {"lost, time %s: %s transactions, %s accounts, amount %s", "丢失业务时长 %s：交易 %s 笔，账户 %s 个，金额 %s"},
	lossLine:      {"ESTIMATED LOSS: %s transactions, %s accounts, amount %s, time %s", "预计损失：交易 %s 笔，账户 %s 个，金额 %s，业务时长 %s"},
	lossSource:    {"source: %s", "来源：%s"},
	lossStatement: {"statement: %s", "说明：%s"},
	fencingTitle:  {"the other copies, when their agents were asked for this:", "其他副本（估算时逐一询问其代理）："},
	fencedShut:    {"closed: its agent says so", "已关闭：其代理如此答复"},
	fencedReached: {"its agent answers and closes as soon as it hears of the decision", "其代理应答，一获知决定即关闭"},
	fencedNot:     {"NOT REACHED: cannot be fenced; switch its server off or cut it from its clients", "未能联系：无法隔离；请关闭其服务器，或切断其与客户端的连接"},
	askSwitch:     {"Switch %s to %s, mode %s?", "将 %s 切换到 %s，模式 %s？"},
	askAccept:     {"Accept this loss for %s?", "接受 %s 的以上损失？"},
	abortedLine:   {"the switch of %s is undone", "%s 的切换已撤销"},
	switchRun:     {"run %[1]s: perdure run show %[1]s", "执行 %[1]s：perdure run show %[1]s"},
	startedLine:   {"switch %s runs; see perdure status", "切换 %s 正在执行；见 perdure status"},
	acceptedBy:    {"accepted by %d of 2 people; the next one: perdure switch accept %s --reason TEXT", "已有 %d 人接受（共需 2 人）；下一位：perdure switch accept %s --reason 原因"},
	switchDone:    {"done: %s is current at %s, epoch %d, after %s", "完成：%s 现归属 %s，纪元 %d，用时 %s"},
	writePause:    {"writes paused for %s", "写暂停 %s"},

	colID:        {"id", "编号"},
	colPerson:    {"person", "人员"},
	colRole:      {"role", "角色"},
	colCreated:   {"created", "创建"},
	tokenOnce:    {"token %s of %s, role %s; its secret is shown only now:", "令牌 %s，属 %s，角色 %s；密文仅此一次显示："},
	tokenWritten: {"token %s of %s, role %s, is in %s", "令牌 %s，属 %s，角色 %s，已写入 %s"},
	tokenGone:    {"token %s is revoked", "令牌 %s 已吊销"},
	tokenValid:   {"valid", "有效"},
	tokenUntil:   {"valid until %s", "有效至 %s"},
	tokenExpired: {"expired %s", "已于 %s 过期"},
	tokenRevoked: {"revoked %s by %s", "已于 %s 被 %s 吊销"},

	surveyFound:    {"found: a %s directory, run by PostgreSQL %s", "发现：%s 数据目录，由 PostgreSQL %s 运行"},
	surveyStopped:  {"no server runs on it", "目录上没有运行中的服务器"},
	surveyRunning:  {"a server runs on it and is stopped once (a restart); all its clients are disconnected", "目录上有服务器在运行，将停止一次（相当于重启）；所有客户端将断开"},
	surveySessions: {"a server runs on it and is stopped once (a restart); its %d clients are disconnected", "目录上有服务器在运行，将停止一次（相当于重启）；%d 个客户端将断开"},
	surveyPutIn:    {"put in: role perdure_agent (superuser, local socket only), roles perdure_app and perdure_replica, schema perdure (the guard)", "将加入：角色 perdure_agent（超级用户，仅本地套接字）、角色 perdure_app 与 perdure_replica、schema perdure（写闸）"},
	surveyChanged:  {"settings that change (take effect with the agent's start):", "将改变的设置（由代理启动后生效）："},
	surveyDropped:  {"no longer read: %d rules of pg_hba.conf, and these settings; what matters belongs into postgres.settings first", "不再读取：pg_hba.conf 的 %d 条规则及下列设置；需要保留的请先写入 postgres.settings"},
	surveyUnset:    {"(default)", "（默认）"},
	askAdopt:       {"Stop the server and give the directory to the agent of %s?", "停止服务器并将目录交给 %s 的代理？"},
	adopted:        {"the directory belongs to the agent of %s now, stopped and closed; start it: perdure agent --config %s", "目录现由 %s 的代理管理，已停止并关闭；请启动代理：perdure agent --config %s"},
	adoptedAlready: {"the agent of %s runs this directory already: nothing to do", "%s 的代理已在管理此目录：无需操作"},

	guardInstalled: {"schema perdure version %d is installed (before: %d)", "schema perdure 版本 %d 已安装（此前：%d）"},
	guardGood:      {"good: the guard is installed and every business table is behind it", "通过：写闸已安装，所有业务表均受保护"},
	guardBad:       {"not installed properly: %d findings", "安装不合格：%d 个发现项"},
	findingWord:    {"finding", "发现项"},
	fatalWord:      {"FATAL", "严重"},

	colMember:      {"MEMBER", "成员"},
	colPeer:        {"PEER URL", "对等地址"},
	colVote:        {"VOTE", "表决"},
	colVersion:     {"VERSION", "版本"},
	colFormats:     {"READS JOURNALS", "可读日志格式"},
	votes:          {"votes", "参与表决"},
	votesNot:       {"not yet: it is catching up", "尚未：正在追赶"},
	membersOutside: {"the control store is external: its members are looked after with its own tools (etcdctl member)", "控制存储为外部 etcd：其成员由其自身工具管理（etcdctl member）"},
	evenMembers:    {"%d members survive no more losses than %d: join another one (perdure node join), or take one out", "%d 个成员所能承受的故障不多于 %d 个：请再加入一个（perdure node join）或移除一个"},
	askJoin:        {"Tell the control store of the new member %s at %s?", "将新成员 %s（%s）告知控制存储？"},
	joinedLine:     {"the control store knows member %s; start its node with an empty data directory and this in its configuration:", "控制存储已登记成员 %s；请以空数据目录启动其节点，并在配置中写入："},
	askRemove:      {"Take member %s out of the control store for good? Its directory never comes back with authority", "将成员 %s 永久移出控制存储？其目录将不再具有任何权限"},
	removedLine:    {"member %s is out of the control store", "成员 %s 已移出控制存储"},
	reclaimedLine:  {"the store takes %s of %s bytes there", "该节点的存储占用 %s / %s 字节"},

	snapshotWritten:  {"the store is in %s, %s bytes", "存储已写入 %s，%s 字节"},
	askCold:          {"Is it certain that nobody recovered this estate elsewhere, so that node %s may act?", "确定没有人在别处恢复过本资产，允许节点 %s 行动？"},
	askRecover:       {"Make this node's store an estate of its own? What the other nodes decided since is lost", "将本节点的存储恢复为独立资产？其他节点此后所作的决定将丢失"},
	askRestore:       {"Make this node's store from %s? What was decided since is lost", "用 %s 重建本节点的存储？此后所作的决定将丢失"},
	incarnationBegan: {"incarnation %s begins on node %s; start the node, then decide unit by unit: perdure status", "代次 %s 在节点 %s 开始；请启动节点，再逐单元决定：perdure status"},
	nodeActs:         {"node %s may act", "节点 %s 可以行动"},

	verdictLine:       {"%s: %s accounts verified and open, %s inconsistent; %s receipts compared (%s), %s of them without effect here; took %s", "%s：%s 个账户已核实并开放，%s 个不一致；核对回执 %s 条（%s），其中 %s 条在此无对应交易；用时 %s"},
	creditOnly:        {"credit only: %s", "仅入金：%s"},
	askRelease:        {"End the quarantine of %s? Every account is served again, judged or not", "解除 %s 的待核查限制？所有账户将恢复服务，无论是否已核实"},
	releasedLine:      {"the quarantine of %s has ended", "%s 的待核查限制已解除"},
	nothingDiverged:   {"no former owner of %s had anything that its successor had not", "%s 的历任属主没有后继者缺少的交易"},
	divergedLine:      {"%s, listed %s: log %s to %s: %s transactions that the successor had not, %s of them carried out there since under the same key; without a key: %s", "%s，列出于 %s：日志 %s 至 %s：后继者缺少 %s 笔交易，其中 %s 笔此后已按原键在后继者执行；无键交易：%s"},
	settledWord:       {"settled", "已了结"},
	nowhereWord:       {"nowhere", "无处生效"},
	findingsLine:      {"%s: findings of its installation: %d, %s (perdure status --json)", "%s：安装检查发现项 %d 个：%s（perdure status --json）"},
	quarantineLine:    {"QUARANTINE: accounts of %s are blocked until they are judged: perdure quarantine verify", "待核查限制：%s 的账户在核查之前不可用：perdure quarantine verify"},
	planWritten:       {"plan %s with %d steps is in %s; check it with: perdure plan check", "预案 %s（%d 个步骤）已写入 %s；请用 perdure plan check 检查"},
	planGood:          {"%s: good for mode %s: %d steps, at most %s without people", "%s：可用于模式 %s：%d 个步骤，不计人工最长 %s"},
	planHead:          {"in mode %s: %d steps, at most %s without people; the longest way is marked", "模式 %s：%d 个步骤，不计人工最长 %s；关键路径已标出"},
	colStep:           {"step", "步骤"},
	colKind:           {"kind", "类型"},
	colAfter:          {"after", "前置步骤"},
	colLongest:        {"at most", "最长"},
	noPlans:           {"there are no plans; put documents of kind Plan into the manifest", "没有预案；请在清单中加入 Plan 文档"},
	colPlan:           {"plan", "预案"},
	colModes:          {"modes", "模式"},
	colSteps:          {"steps", "步骤数"},
	colTitle:          {"title", "名称"},
	askStart:          {"Start a run of %s in mode %s?", "执行预案 %s（模式 %s）？"},
	atATable:          {"(tabletop)", "（桌面推演）"},
	incidentDeclared:  {"incident %s is declared; see perdure incident show %[1]s", "运营中断事件 %s 已宣告；查看：perdure incident show %[1]s"},
	runStarted:        {"run %s has begun; see perdure run watch %[1]s", "执行 %s 已开始；查看：perdure run watch %[1]s"},
	noRuns:            {"there are no runs", "没有执行记录"},
	colRun:            {"run", "执行"},
	colMode:           {"mode", "模式"},
	colStarted:        {"started", "开始时间"},
	colBy:             {"by", "发起人"},
	colAsked:          {"waits for people at", "等待人工"},
	runSays:           {"run %s: %s, %d of %d steps settled", "执行 %s：%s，%d/%d 个步骤已完成"},
	askUser:           {"name", "用户名"},
	askPassword:       {"password", "密码"},
	askNewPassword:    {"new password", "新密码"},
	askAgain:          {"the new password again", "再次输入新密码"},
	notTheSame:        {"you typed two different passwords", "两次输入的密码不一致"},
	askCode:           {"code of the second factor (empty: you have none)", "第二因素验证码（没有则留空）"},
	askOldCode:        {"code of the second factor that is replaced (empty: there is none)", "被替换的第二因素验证码（没有则留空）"},
	askNewCode:        {"code that the app shows now", "应用当前显示的验证码"},
	loggedIn:          {"logged in as %s (%s) until %s, second factor: %s", "已登录：%s（%s），有效至 %s，第二因素：%s"},
	loggedOut:         {"logged out", "已退出登录"},
	sessionGone:       {"session %s has ended", "会话 %s 已结束"},
	colSeen:           {"last used", "最近使用"},
	colExpires:        {"ends", "失效时间"},
	colFactor:         {"second factor", "第二因素"},
	colRecovery:       {"recovery codes", "恢复码"},
	colFrom:           {"from", "来源"},
	factorNone:        {"none", "无"},
	factorSince:       {"since %s", "自 %s"},
	factorScan:        {"Scan this with the app that makes your codes, or type the secret of the text below:", "用验证码应用扫描，或手工输入下面文本中的 secret："},
	factorCodes:       {"Your second factor is enrolled, and your sessions have ended: log in again. Each of these recovery codes is good once, in place of a code; they are shown only now:", "第二因素已登记，您的会话均已结束，请重新登录。以下恢复码每个可代替验证码使用一次，仅此一次显示："},
	passwordChanged:   {"the password is changed, and your sessions have ended: log in again", "密码已修改，您的会话均已结束，请重新登录"},
	userIs:            {"user %s (%s): %s", "用户 %s（%s）：%s"},
	userLocked:        {"locked %s by %s", "已于 %s 由 %s 锁定"},
	userRemoved:       {"removed %s by %s", "已于 %s 由 %s 移除"},
	userWaits:         {"waits until %s after wrong tries", "多次输错，%s 前不可登录"},
	askRemoveUser:     {"Remove user %s for good?", "永久移除用户 %s？"},
	policyOn:          {"people who log in do nothing for real without one; tokens stay as they are", "登录用户没有第二因素不得进行真实操作；令牌不受影响"},
	policyOff:         {"nobody needs one", "不要求第二因素"},
	policyAll:         {"nobody does anything for real without one; tokens have none", "没有第二因素不得进行真实操作；令牌没有第二因素"},
	askGlass:          {"Break glass: settle approval %s of run %s alone? Another person will have to review the run.", "紧急破窗：由您一人决定审批 %s（执行 %s）？事后须由他人复核。"},
	inboxEmpty:        {"nothing waits for you", "没有待办事项"},
	inboxFrom:         {"(delegated by %s)", "（由 %s 委托）"},
	colSince:          {"since", "起始时间"},
	colWhat:           {"what", "事项"},
	colFor:            {"as", "身份"},
	colText:           {"text", "内容"},
	packWritten:       {"%s: %s bytes; verify it with perdure evidence verify", "%s：%s 字节；核验：perdure evidence verify"},
	packGood:          {"good: every byte of the evidence of run %s is what was signed", "核验通过：执行 %s 的证据与签名时逐字节一致"},
	stretchGood:       {"good: entries %d to %d of the log are all there, every byte is what was signed", "核验通过：日志条目 %d 至 %d 完整，与签名时逐字节一致"},
	stretchWritten:    {"%s: entries: %d; the log had %d", "%s：条目 %d；日志共 %d 条"},
	folderGood:        {"good: files: %d, without a gap; entries: %d, every byte is what was signed", "核验通过：文件 %d 个，连续无缺；条目 %d，与签名时逐字节一致"},
	folderRuns:        {"packs of runs: %d", "执行证据包：%d"},
	folderRetired:     {"entries that were retired before they were exported here, and whose hashes alone are proved: %d", "导出前已到期移出、仅存哈希的条目：%d"},
	stretchRetired:    {"good: entries %d to %d of the log, but for %d that were retired before; every byte is what was signed", "核验通过：日志条目 %d 至 %d，其中 %d 条此前已到期移出；其余与签名时逐字节一致"},
	runPackWritten:    {"%s: entries: %d; files: %s", "%s：条目 %d；文件 %s"},
	keptForDays:       {"what was exported may be taken out of the store after %d days", "已导出的证据满 %d 天后可移出存储"},
	keptForEver:       {"nothing is ever taken out of the store", "证据永不移出存储"},
	askRetire:         {"Take %d runs and %d entries out of the store for good?", "将 %d 次执行、%d 个条目永久移出存储？"},
	retiringNothing:   {"evidence is kept for ever; perdure policy set evidence kept-for DAYS says for how long", "证据永久保存；可用 perdure policy set evidence kept-for DAYS 设定保存天数"},
	retiringLine:      {"older than %s: runs that go: %d, entries: %d of %d", "早于 %s：移出执行 %d 次，条目 %d（共 %d）"},
	stayingLine:       {"runs that stay: %d (%s): %s", "保留执行 %d 次（%s）：%s"},
	retiringProgress:  {"runs that have gone: %d; entries looked at: %d of %d", "已移出执行 %d 次；已检查条目 %d / %d"},
	retiredLine:       {"runs that have gone: %d, entries: %d; perdure node reclaim makes each node's store small", "已移出执行 %d 次、条目 %d；perdure node reclaim 可收缩各节点存储"},
	packFacts:         {"entries: %d; files: %s; log %s of %d entries, signed by %s", "条目 %d；文件 %s；日志 %s 共 %d 条，签名 %s"},
	userBelongs:       {"user %s belongs to %s", "用户 %s 属于 %s"},
	taskAnswered:      {"run %s, %s: %s", "执行 %s，%s：%s"},
	participantsTitle: {"PARTICIPANTS", "参演单位"},
	colParticipant:    {"participant", "参演单位"},
	colTenant:         {"tenant", "租户"},
	runAttested:       {"%s %s, %s, stands for the record: %s", "%s %s（%s）确认记录属实: %s"},
	runObjected:       {"%s %s, %s, objects to the record: %s", "%s %s（%s）对记录提出异议: %s"},
	colContacts:       {"contacts", "联系方式"},
	waitingFor:        {"waits for %s: %s, %s since %s; %s", "等待 %s：%s，%s，自 %s；%s"},
	answeredBy:        {"%s by %s", "%s（%s）"},
	inboxKnown:        {"(acknowledged by %s)", "（%s 已确认）"},
	noDuty:            {"there is no roster: put a document of kind Roster into the manifest", "没有值班表：请在清单中加入 Roster 文档"},
	colDuty:           {"duty", "值班岗位"},
	colOnDuty:         {"on duty", "当值"},
	colThen:           {"then", "下一班"},
	dutyGap:           {"nobody is on duty from %s until %s", "%s 至 %s 无人值班"},
	dutyUnable:        {"from %s: %s", "自 %s 起：%s"},
	furtherNotice:     {"further notice", "另行通知"},
	nobodyWord:        {"nobody", "无人"},
	inPlaceOf:         {"(for %s)", "（代 %s）"},
	inboxFiles:        {"files: %d", "附件：%d"},
	inboxShown:        {"[%s: perdure run attachment %s %s --out '%s']", "[%s：perdure run attachment %s %s --out '%s']"},

	calendarTitle:    {"CALENDAR", "日历"},
	calendarLine:     {"%s, at %s", "%s，%s"},
	noCalendar:       {"there is no calendar: no takeover, switch-back, experiment or change begins; put a document of kind Calendar with a window into the manifest, and have it approved", "没有日历：接管、回切、试验和变更均不能启动；请在清单中加入含窗口的 Calendar 文档，并由他人批准"},
	askApprove:       {"Approve window %s as shown? Runs of other people may then begin in it.", "按上述内容批准窗口 %s？批准后他人可在其中启动执行。"},
	windowApproved:   {"window %s is approved by %s", "窗口 %s 已批准：%s"},
	windowRevoked:    {"window %s is not approved any more; what has begun goes on", "窗口 %s 的批准已撤销；已启动的执行不受影响"},
	colApproved:      {"approved", "批准"},
	waitsForApproval: {"waits for approval", "待批准"},
	waitingStatus:    {"windows that wait for approval: %s (perdure calendar)", "待批准的窗口：%s（perdure calendar）"},
	waitingApply:     {"windows that wait for approval: %s (perdure calendar approve)", "待批准的窗口：%s（perdure calendar approve）"},
	inWindow:         {"in window %s, open until %s, approved by %s", "窗口 %s，开放至 %s，批准人 %s"},
	windowWaits:      {"window %s waits for approval (perdure calendar approve %s --reason TEXT)", "窗口 %s 待批准（perdure calendar approve %s --reason 原因）"},
	windowsTitle:     {"WINDOWS", "变更窗口"},
	freezesTitle:     {"FREEZES", "封网期"},
	cutoffsTitle:     {"CUT-OFFS", "日切与清算截止"},
	schedulesTitle:   {"SCHEDULES", "计划"},
	colWindow:        {"window", "窗口"},
	colFreeze:        {"freeze", "封网期"},
	colCutoff:        {"cut-off", "截止"},
	colSchedule:      {"schedule", "计划"},
	colBegins:        {"from", "起"},
	colUntil:         {"until", "止"},
	colLeft:          {"time", "时间"},
	colAppliesTo:     {"for", "适用"},
	colReason:        {"reason", "原因"},
	colAt:            {"at", "时刻"},
	colLastRun:       {"last run", "最近执行"},
	colNext:          {"next", "下次"},
	closedWindow:     {"closed", "未开放"},
	notYet:           {"ahead", "未到"},
	inForce:          {"IN FORCE", "生效中"},
	inWord:           {"in %s", "%s 后"},
	leftWord:         {"%s left", "剩余 %s"},
	overdueLine:      {"OVERDUE: schedule %s: no run of plan %s in mode %s within %s of %s; missed in a row: %d", "逾期：计划 %s：预案 %s（模式 %s）未在规定的 %s 内执行，应执行时刻 %s；连续错过 %d 次"},
	overdueStatus:    {"OVERDUE: %s (perdure calendar)", "逾期计划：%s（perdure calendar）"},

	noArmed:         {"no plan names a run that has to be able to begin at any moment", "没有预案声明常备执行"},
	colArmed:        {"armed", "常备"},
	colWorst:        {"worst case", "最坏耗时"},
	colVerified:     {"verified by", "验证"},
	colLooked:       {"looked at", "检查时刻"},
	armedReady:      {"ready", "就绪"},
	armedUnverified: {"unverified", "未验证"},
	armedFindings:   {"findings", "有问题"},
	armedUnknown:    {"unknown", "未知"},
	neverSince:      {"by no run since %s", "%s 以来未经执行验证"},
	armedStatus:     {"ARMED, BUT COULD NOT BEGIN AS IT HAS TO: %s (perdure plan armed)", "常备预案未就绪：%s（perdure plan armed）"},

	reportWritten: {"%s: %s bytes", "%s：%s 字节"},
	clockNames:    {"detect %s, declare %s, decide %s, execute %s, verify %s", "发现 %s，宣告 %s，决策 %s，执行 %s，验证 %s"},

	rtoFromDisruption: {"recovery time from the disruption: %s", "恢复时间（自中断起）：%s"},
	rtoFromStart:      {"recovery time from the start of the run: %s", "恢复时间（自执行开始起）：%s"},
	rtoTarget:         {"objective %s", "目标 %s"},
	rtoMet:            {"met", "达成"},
	rtoMissed:         {"missed", "未达成"},
	pathLine:          {"critical path: %s", "关键路径：%s"},
	colTook:           {"took", "用时"},
	colPeople:         {"for people", "等待人工"},
	colLocks:          {"for locks", "等待锁"},
	colWorked:         {"worked", "工作"},
	colAttempts:       {"attempts", "尝试"},
	preflightHead:     {"in mode %s, objective %s", "模式 %s，目标 %s"},
	worstLine:         {"worst case %s: %s", "最坏情况 %s：%s"},
	quantileLine:      {"P50 %s, P95 %s, from %d earlier runs", "P50 %s，P95 %s，依据 %d 次历史执行"},
	noHistory:         {"P50 and P95 are not known: no run of it has been done", "P50 与 P95 未知：尚无已完成的执行"},
	endlessLine:       {"people have no timeout at %s: not part of the worst case", "%s 未限人工时限：不计入最坏情况"},
	unseenLine:        {"no history of %s: taken with the timeout, or with nothing where there is none", "%s 无历史：按时限计，无时限则不计"},
	missingLine:       {"still needed at the start: %s", "开始时仍需给出：%s"},
	lateAtWorst:       {"the worst case %s is longer than the objective %s", "最坏情况 %s 超过目标 %s"},
	lateMostly:        {"half of the runs take %s or longer; the objective is %s", "半数执行需 %s 或更久；目标为 %s"},
	lateSometimes:     {"one run of twenty takes %s or longer; the objective is %s", "每二十次执行有一次需 %s 或更久；目标为 %s"},
	looksWrong:        {"step %s, looked at beforehand: %s", "步骤 %s 的预检：%s"},
	notLookedYet:      {"step %s cannot be looked at yet: %s", "步骤 %s 尚不能预检：%s"},
	lookedLine:        {"looked at beforehand: %d", "已预检：%d 项"},
	breaksRules:       {"step %s breaks the contract of the mode: %s", "步骤 %s 违反模式约束：%s"},
	breaksAsAWhole:    {"the contract of the mode: %s", "模式约束：%s"},
	preflightSoFar:    {"nothing that can be looked at yet speaks against the start", "目前可检查的内容未发现不宜开始的问题"},
	preflightGood:     {"nothing speaks against the start", "未发现不宜开始的问题"},

	noIncidents:      {"there is no incident", "没有运营中断事件"},
	colIncident:      {"incident", "事件"},
	colClass:         {"class", "级别"},
	noOrders:         {"no such order", "没有符合条件的业务留单"},
	ordersImported:   {"%d orders imported, %d were there already", "登记留单 %d 笔，已登记 %d 笔"},
	ordersLookedAt:   {"looked at only, nothing is written: %d orders would be imported, %d are there already", "仅检查，未写入：将登记留单 %d 笔，已登记 %d 笔"},
	ordersDropped:    {"%d orders dropped, %d were dropped already", "作废留单 %d 笔，此前已作废 %d 笔"},
	ordersProved:     {"%d orders were found at the owners of their units", "在所属单元的主库中新核实 %d 笔"},
	orderTotals:      {"%d held, %d taken at the DR side; open %d (%s), entered %d (%s), dropped %d (%s)", "留单 %d 笔，灾备侧业务 %d 笔；未处理 %d 笔（%s），已入账 %d 笔（%s），已作废 %d 笔（%s）"},
	colReference:     {"reference", "编号"},
	colHolder:        {"holder", "留单单位"},
	colAccountKey:    {"account and key", "账户与幂等键"},
	colOrderAmount:   {"amount", "金额"},
	colTaken:         {"taken", "受理时间"},
	colFinding:       {"finding", "核对结果"},
	kindHeld:         {"held", "留单"},
	kindDR:           {"DR side", "灾备侧"},
	orderOpen:        {"open", "未处理"},
	orderEntered:     {"entered", "已入账"},
	orderDropped:     {"dropped", "已作废"},
	foundRefused:     {"the request was refused with %d", "请求被拒绝（%d）"},
	foundDiffers:     {"recorded with amount %s", "主库记录的金额为 %s"},
	foundGone:        {"was there, and is not any more", "此前已入账，现已不在"},
	foundIn:          {"found in ownership %s", "核实于所有权 %s"},
	droppedBy:        {"%s: %s", "%s：%s"},
	allUnits:         {"all units", "全部单元"},
	noRectifications: {"nothing has to be put right", "没有整改事项"},
	nothingWrong:     {"the evaluation of the run found nothing; perdure rectification add keeps what people found", "该执行的评估未发现问题；perdure rectification add 可补充人员发现的问题"},
	itemsLine:        {"%d items, %d not over, %d overdue", "整改项 %d，未关闭 %d，逾期 %d"},
	colEnded:         {"ended", "结束"},
	colItem:          {"item", "序号"},
	colAnswers:       {"owner", "责任方"},
	colItems:         {"items", "整改项"},
	colNotOver:       {"not over", "未关闭"},
	colOverdue:       {"overdue", "逾期"},
	colProblem:       {"problem", "问题"},
	itemCorrected:    {"put right", "已整改待复测"},
	itemClosed:       {"closed", "已关闭"},
	itemAccepted:     {"risk accepted", "已接受风险"},
	itemDone:         {"%d put right by %s at %s: %s", "%d 由 %s 于 %s 完成整改：%s"},
	itemNeeds:        {"%d needs %s, confirmed by another person than %s", "%d 关闭条件：%s，由 %s 以外的人员确认"},
	itemTaken:        {"%d risk accepted by %s at %s: %s", "%d 由 %s 于 %s 接受风险：%s"},
	retestPassed:     {"%d re-tested by run %s: passed, says %s at %s", "%d 复测 %s：通过，%s 于 %s 确认"},
	retestFailed:     {"%d re-tested by run %s: failed, says %s at %s", "%d 复测 %s：未通过，%s 于 %s 确认"},
	colCause:         {"opened by way of", "来源"},
	colFunctions:     {"functions", "影响业务功能"},
	colAffected:      {"affected", "影响范围"},
	colOpened:        {"opened", "登记"},
	colDisrupted:     {"disrupted for", "中断时长"},
	colLacks:         {"lacks", "待完成"},
	colAmount:        {"amount", "影响金额"},
	colCustomers:     {"customers", "影响客户数"},
	colTask:          {"task", "任务"},
	colDue:           {"due", "截止"},
	colTo:            {"to", "报送对象"},
	tasksTitle:       {"TASKS", "任务"},
	colSettledBy:     {"by", "办理人"},
	detectClock:      {"detect", "发现"},
	declareClock:     {"declare", "宣告"},
	recoverClock:     {"recover", "恢复"},
	declaredWord:     {"declared", "宣告人"},
	linkedWord:       {"linked", "关联"},
	reviewedWord:     {"reviewed", "复核人"},
	closedWord:       {"closed", "关闭人"},
	measuredWord:     {"(measured)", "（实测）"},
	plannedWord:      {"planned", "计划内"},
	unplannedWord:    {"unplanned", "计划外"},
	byAt:             {"by %s at %s", "%s，%s"},
	soFar:            {"%s so far", "已 %s"},
	ofWithin:         {"of %s", "/ 限 %s"},
	classBy:          {"%s, given by %s: %s (by thresholds: %s)", "%s，由 %s 指定：%s（按阈值：%s）"},
	phaseOpen:        {"open", "待宣告"},
	phaseDeclared:    {"declared", "已宣告"},
	phaseReviewed:    {"reviewed", "已复核"},
	phaseOver:        {"closed", "已关闭"},
	phaseJoined:      {"joined", "已并入"},
	joinedWord:       {"joined into", "并入"},
	togetherLine:     {"disrupted within minutes of each other; if it is one disruption: perdure incident join %s --into %s", "中断时刻相近；若为同一事件：perdure incident join %s --into %s"},
	taskPending:      {"open", "待办"},
	taskLate:         {"OVERDUE", "逾期"},
	taskDone:         {"done", "完成"},
	taskTooLate:      {"done late", "逾期完成"},
	taskWaived:       {"waived", "免除"},
	dueBy:            {"due %s", "截止 %s"},
	colAvailable:     {"available", "可用率"},
	colUnplanned:     {"unplanned", "计划外中断"},
	colDisruptions:   {"disruptions", "中断次数"},
	colLongestGap:    {"longest", "最长"},
	colPlanned:       {"planned", "计划内中断"},
	colFromTime:      {"from", "起"},
	andUnmeasured:    {"(+%d of unknown length)", "（另 %d 次时长未知）"},

	askPassphrase:      {"passphrase of the key", "密钥口令"},
	askNewPassphrase:   {"passphrase for the new key", "新密钥的口令"},
	askPassphraseAgain: {"the passphrase again", "再次输入口令"},
	askChallenge:       {"challenge (PDASK:…)", "审批质询码（PDASK:…）"},
	signsApproval:      {"You APPROVE this with your signature.", "您将以签名批准以上事项。"},
	signsRefusal:       {"You DECLINE this with your signature.", "您将以签名拒绝以上事项。"},
	signedBy:           {"signed by %s with key %s; send this back:", "%s 已用密钥 %s 签名；请将下行发回："},
	asksRun:            {"run %s of plan %s, mode %s", "执行 %s，预案 %s，模式 %s"},
	asksStep:           {"step %s asks: %s", "步骤 %s 请求审批：%s"},
	asksDigest:         {"digest %s, valid until %s", "摘要 %s，有效至 %s"},
	keyMade:            {"key %s of %s: %s stays with you, sealed; log in and add it with perdure user key add %s", "密钥 %s（%s）：%s 已加密，请自行保管；登录后用 perdure user key add %s 登记"},
	keyAdded:           {"key %s is added: what it signs counts from now on", "密钥 %s 已登记，其签名即日起有效"},
	keyWeak:            {"this session has shown no second factor: the key counts in runs that are not for real only", "本会话未经第二因素验证：该密钥仅在非真实执行中有效"},
	keyGone:            {"revoked %s by %s", "已于 %s 由 %s 吊销"},
	keyRevoked:         {"key %s is revoked", "密钥 %s 已吊销"},
	signaturesOn:       {"what was signed with a key that was added with a second factor counts where one is required", "经第二因素登记的密钥，其签名在要求第二因素处有效"},
	signaturesOff:      {"where a second factor is required no signature counts", "要求第二因素处，签名无效"},
	signOnAt:           {"open this in a browser of this machine:\n%s", "请在本机浏览器中打开：\n%s"},
	signOnBack:         {"Go back to the terminal: the rest is done there.", "请返回终端继续。"},
	signOnStrange:      {"This answer does not belong to the sign-on that waits here: it is refused.", "该应答不属于此处等待的登录，已拒绝。"},
	signOnDevice:       {"open %s on any device and enter %s", "请在任意设备上打开 %s 并输入 %s"},
	steppedUp:          {"this session has shown your second factor: %s", "本会话已通过第二因素验证：%s"},
	packSigned:         {"step %s: %s by %s at %s: the signature of key %s holds; handed in by %s", "步骤 %s：%s，%s 于 %s：密钥 %s 的签名有效；由 %s 递交"},
}

// words are the words of the protocol that people read in Chinese.
var words = map[string]string{
	"takeover": "主动接管", "switch-back": "回切", "failover": "故障切换", "emergency": "紧急切换",
	"accepting": "待接受损失", "closing": "关闭写闸", "drained": "已排空", "promoting": "提升中", "growing": "恢复同步", "done": "完成", "failed": "失败",
	"open": "开放", "closed": "关闭", "sync": "同步", "async": "异步", "pinned": "固定同步",
	"ahead": "未到", "held": "已执行", "due": "待执行", "overdue": "逾期", "frozen": "封网中",
	"unanswered": "未应答", "acknowledged": "已确认", "declined": "已谢绝", "over": "已结束", "completed": "已完成", "approved": "已同意",
	"approval": "审批", "task": "任务", "failure": "失败处置", "note": "告知", "review": "复核",
	"window": "窗口批准", "rectification": "整改", "assignment": "指派整改", "retest": "复测确认",
	"declaration": "宣告", "restoration": "恢复确认", "closure": "关闭", "detection": "监测发现", "person": "人工登记",
	"drill": "模拟演练",
}
