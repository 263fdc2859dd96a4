package generate

import (
	"fmt"

	"perdure/internal/document"
)

// say gives a text in a language, with its arguments filled in. Texts stand in the program as they are in English.
func say(l document.Language, text string, args ...any) string {
	if l == document.Chinese {
		there, ok := chinese[text]
		if !ok {
			panic("generate: there is no Chinese for " + text)
		}
		text = there
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

func (s *scope) say(text string, args ...any) string { return say(s.o.Language, text, args...) }

func (w *writer) language() document.Language { return w.scope.o.Language }

func (w *writer) say(text string, args ...any) string { return say(w.language(), text, args...) }

// word is a word of a closed list, in English as the language of plans has it.
func (w *writer) word(list string, word any) string {
	if w.language() == document.Chinese {
		return w.language().Word(list, fmt.Sprint(word))
	}
	return fmt.Sprint(word)
}

var chinese = map[string]string{
	"Tell the result":                      "通报结果",
	"%s is over: %s":                       "%s 已结束：%s",
	"Who took part hears that it is over.": "参与各方收到结束通知。",
	"Look how %s stands":                   "检查 %s 的状态",
	"People are asked only about what can be done: %s accepts writes, has a copy in sync, and no account of it is in quarantine.": "只就可执行的事项提请审批：%s 可写入，有同步副本，且没有账户处于隔离状态。",
	"%s: %s. The contract of the mode: production interrupted %s, %s interfaces, %s.":                                             "%s：%s。模式约束：生产中断 %s，接口 %s，数据 %s。",
	"Approve it": "审批",
	"Mode %s is approved beforehand, by somebody else than who starts it. An open window of the calendar is asked for at the start.": "模式 %s 须事先审批，审批人不得为发起人；启动时日历须有可用窗口。",
	"Tell that it was declined":                                     "通报未获批准",
	"%s was declined; nothing was switched":                         "%s 未获批准，未做任何切换",
	"Declining ends the run here, and nobody waits for it in vain.": "未获批准则执行到此结束，无人空等。",
	"All held orders and orders of the DR side are handed in":       "业务留单与灾备侧业务已全部登记",
	"See that every order that was held, or was taken on paper at the site that took over, is handed in with the run of the takeover: perdure run orders import RUN FILE. Complete this when none is missing; what is open then keeps everything from going home.": "确认业务留单以及接管站点的手工业务已全部登记到接管的执行：perdure run orders import RUN FILE；无遗漏后方可完成本任务，仍未处理的留单将阻止回切。",
	"No held order of %s is open": "%s 无未处理的业务留单",
	"Nobody is asked while an order that was held is open: who holds it enters it, or drops it with a reason, and this step is begun again.":                          "尚有未处理的业务留单时不提请审批：由留单单位补录或注明原因后作废，再重新执行本步骤。",
	"The owner of %s has every order that was held, by its key and with its amount, or it was dropped with a reason. The switch itself refuses to go home before.":    "%s 的主库按幂等键与金额核实每笔留单均已入账，或已注明原因作废；在此之前切换本身拒绝回切。",
	" Hand in what you hold: perdure run orders import ${run.id} FILE.":                                                                                               " 登记所留业务：perdure run orders import ${run.id} FILE。",
	"The contract: what was entered since the takeover is written back, so it is reconciled before production goes home. What nobody has handed in nobody can count.": "模式约束：接管以来录入的业务将写回，回切前须核对；未登记的留单无从核对。",
	"%s is ready":                "%s 就绪",
	"Orders that are held 业务留单.": "业务留单笔数。",
	"The contract: participants take part in mode %s, %s as %s.":                                                           "模式约束：模式 %s 须参演单位参加，%s 的类型为 %s。",
	"Hold orders that cannot be repeated until you are told that it is over, and enter them afterwards.":                   "不可重复提交的业务先行留单，收到结束通知后补录。",
	"Stop batches to and from the systems that are switched, and see that your connections follow them to the other site.": "暂停与被切换系统之间的批量作业，并确认连接随之切换到另一站点。",
	"See that connections from and to the other site are open, and repeat requests that get no answer, with their keys.":   "确认与另一站点的往来连接已开通；未获应答的请求携带原幂等键重发。",
	" Reached at: %s.":       " 联系方式：%s。",
	"Tell that it has begun": "通报已开始",
	"%s has begun: %s":       "%s 已开始：%s",
	"Everybody hears of it at once. Nothing waits for this: an emergency waits for no paper.": "各方同时收到通知，切换不等待本步骤：紧急切换不等待手续。",
	"Announce the interruption to the public":                                                 "对外公告业务中断",
	"Announce the interruption to the public and report it to the authorities, within the times that the emergency response plan has for it. Write down when it was done.": "按应急预案规定的时限对外公告业务中断并向监管部门报告，并填写完成时间。",
	"When, and where.": "时间与渠道。",
	"The contract of an emergency requires an announcement. It is a task beside the switch, never a gate.": "紧急切换的模式约束要求公告；本任务与切换并行，从不阻塞切换。",
	"Wave %d of %d is over":                                      "第 %d 批（共 %d 批）完成",
	"wave %d of %d is over: %s; next: %s":                        "第 %d 批（共 %d 批）完成：%s；下一批：%s",
	"What comes next depends on this wave, or is less critical.": "后续批次依赖本批，或重要程度较低。",
	"Start the application of %s":                                "启动 %s 的应用",
	"Start the application of %s at %s, and wait until its instances are registered and well.":                 "在 %[2]s 启动 %[1]s 的应用，等待其实例注册并健康。",
	"%s is %s, and its manifest names no instance at %s that is always there. No driver deploys applications.": "%s 的保障阶段为 %s，资产清单未声明其在 %s 的常驻实例；应用部署没有驱动。",
	"Switch %s to %s": "将 %s 切换到 %s",
	"Wave %d: %s carries %s of %s (%s) and goes to %s, where the %s is.": "第 %d 批：%s 承载 %[4]s（%[5]s）的 %[3]s，切换到 %[6]s，该处为%[7]s。",
	" Undone, it goes back to where it was.":                             "撤销时回到原站点。",
	"Have the loss of %s accepted":                                       "请人接受 %s 的数据损失",
	"%s goes to %s with a loss that may be there: two people look at the estimate and accept it with: perdure switch accept %s --reason TEXT":      "%s 将切换到 %s，可能有数据损失：须两人查看估算后接受，命令：perdure switch accept %s --reason TEXT",
	"The copy at %s is async: what was acknowledged and is not there is lost. That is two people's decision; the switch waits for it, at most %s.": "%s 的副本为异步：已确认而未到达的业务将丢失，由两人决定；切换等待该决定，最长 %s。",
	"Verify the accounts of %s": "核验 %s 的账户",
	"%s was switched with a loss, and its accounts are in quarantine. Judge them with: perdure quarantine verify %s. Repair what it shows, then: perdure quarantine release %s.": "%s 带损失切换，账户处于隔离状态。核验命令：perdure quarantine verify %s；修复所列问题后执行：perdure quarantine release %s。",
	"After a loss no account is served before it was judged. Passed over where nothing was lost.":                                                                                "有损失时账户须先核验后服务；无损失则略过。",
	"Wait until %s has a copy in sync again": "等待 %s 恢复同步副本",
	"Until then a failure of the new owner would cost what is acknowledged now; what comes next waits for it.": "在此之前新主库故障会丢失当前已确认的业务，后续步骤等待其完成。",
	"first owner":                     "首个主库",
	"async copy":                      "异步副本",
	"archive":                         "备份归档",
	"Look at the archive of %s at %s": "查看 %s 在 %s 的备份归档",
	"How old the newest backup and the newest log are is about what will be lost. The restore begins whatever this says.": "最新备份与最新日志的时间大致就是将丢失的范围；无论结果如何都开始恢复。",
	"Restore %s at %s": "在 %[2]s 恢复 %[1]s",
	"Nothing stands by at %s: the newest good backup and all log behind it are made a copy. It owns nothing until two people have accepted the loss and it is switched.": "%s 没有待命的副本：由最新的有效备份及其后的全部日志恢复出一个副本。在两人接受损失并完成切换之前，它不拥有任何业务。",
	"%s copy":         "%s 副本",
	"copy":            "副本",
	"the other sites": "其他站点",
	"Stop its intake at %s, let its queue run empty where that can still be done, and begin intake at %s. Enter there what could not be delivered.": "在 %s 停止接入，尽可能排空队列，在 %s 开始接入；未能投递的业务在该处补录。",
	"Give it no more work at %s; begin again at %s what is not finished there.":                                                                     "%s 不再分派作业；未完成的作业在 %s 重新开始。",
	"Point its readers from %s to %s, and see that its data there is as new as it has to be.":                                                       "将读取方由 %s 指向 %s，并确认该处数据满足时效要求。",
	"Bring module %s of %s to %s":                               "将 %[2]s 的模块 %[1]s 切换到 %[3]s",
	"Module %s of %s is of archetype %s. %s":                    "%[2]s 的模块 %[1]s 原型为 %[3]s。%[4]s",
	"No driver acts on modules of archetype %s: a person does.": "原型 %s 的模块没有驱动，由人员操作。",
	"%s compares totals":                                        "%s 核对总额",
	"Enter the orders that were held, compare the totals of the day with the front offices, and write down the difference.": "补录业务留单，与前台核对当日总额，并填写差额。",
	"Amount by which the totals differ.": "总额差异金额。",
	"Held orders that were entered.":     "已补录的业务留单笔数。",
	"The proof of the business that nothing is missing, and where the held orders end up.": "由业务证明无一遗漏，并确认业务留单的去向。",
	"%s to %s":                 "%s 至 %s",
	"%s of %s to %s (by hand)": "%[2]s 的 %[1]s 至 %[3]s（人工）",
	"Applications and modules without a database have no part in it: no driver starts them against a sandbox.": "应用以及没有数据库的模块不参加演练：没有驱动可使其连接沙箱运行。",
	"Tell that it begins": "通报开始",
	"%s begins: %s":       "%s 开始：%s",
	"Who takes part hears of it. Production is not interrupted, so nobody has to agree.":                   "参与各方收到通知。生产不中断，无须审批。",
	"Look how %s stands in production":                                                                     "检查 %s 的生产状态",
	"Lag, connections and writes before the drill, to compare with; and no other run has a sandbox at %s.": "记录演练前的延迟、连接与写入以供比较；%s 没有其他执行的沙箱。",
	"Clone the copy of %s at %s":                                                                           "在 %[2]s 克隆 %[1]s 的副本",
	"The contract of a drill: a snapshot of the replica, never the replica itself. The files come from the server at %s; %s has no part in it.": "演练的模式约束：使用副本的快照，从不使用副本本身。文件来自 %s 的服务器，%s 不参与。",
	"Open the sandbox of %s": "打开 %s 的沙箱",
	"It takes writes, and its agent alone reaches it: it follows nobody, archives nothing, and no unit is open in it.": "可写入，仅其代理可访问：不跟随任何主库，不归档，其中没有开放的单元。",
	"Carry out test transactions of %s": "执行 %s 的测试交易",
	"The contract of a drill: test data. A transaction of every declared test account is accepted, and one of another account is refused.": "演练的模式约束：使用测试数据。每个已声明的测试账户的交易被受理，其他账户的交易被拒绝。",
	"Verify the sandbox of %s": "验证 %s 的沙箱",
	"Tables and indexes are whole, the books of all accounts agree by the system's own query, and a row can be written.": "表与索引完整，按系统自身的查询全部账户账目一致，且可写入。",
	"Mask the sandbox of %s": "脱敏 %s 的沙箱",
	"Who has no right to production data sees none: what the manifest declares is overwritten, and no value of before is left.": "无生产权限者看不到生产数据：清单中声明的列被覆写，不留任何原值。",
	"Show participants the data of %s": "向参演单位展示 %s 的数据",
	"The rows that the manifest lets them look at, as files of the run; refused where not all that is declared was masked.": "清单允许其查看的行，作为本次执行的文件；声明的脱敏未全部完成时拒绝展示。",
	"%s looks at the data of %s": "%s 核验 %s 的数据",
	"Look at the data of %s as the drill has it: perdure inbox names the files. Say whether the business could go on with it.": "查看演练中 %s 的数据：perdure inbox 列出文件。填写业务能否依此数据继续。",
	"The business could go on with this data.":                                                                 "业务可依此数据继续。",
	"The verification by the business: %s takes part as %s.":                                                   "业务验证：%s 以 %s 身份参演。",
	"Look how %s stands during the drill":                                                                      "检查演练期间 %s 的状态",
	"Production is untouched: it takes writes, and its copy has nothing of what was written into the sandbox.": "生产不受影响：可写入，且其副本中没有沙箱写入的内容。",
	"Discard the sandbox of %s":                                                                                "销毁 %s 的沙箱",
	"However the run ends: server and files go. Where nothing was cloned nothing is done; the sandbox of another run is left.": "无论执行如何结束，服务器与文件均被清除；未克隆则不做任何事，其他执行的沙箱予以保留。",
	"Look that nothing of the drill of %s is left":                          "检查 %s 的演练无残留",
	"Lag, connections and writes after the drill; and the sandbox is gone.": "记录演练后的延迟、连接与写入；沙箱已不存在。",
	"Drill":                             "演练",
	"everything current at site %s":     "当前位于站点 %s 的全部业务",
	"on copies at %s":                   "使用 %s 的副本",
	"Take over %s":                      "接管 %s",
	"Emergency switch of %s":            "紧急切换 %s",
	"Switch back %s":                    "回切 %s",
	"%s, everything current at site %s": "%s 当前位于站点 %s 的全部业务",
	"%s, everything at home at site %s": "%s 归属站点 %s 的全部业务",
	"everything at home at site %s":     "归属站点 %s 的全部业务",
	"%s, to %s":                         "%s，目标站点 %s",
	"Generated by: %s":                  "生成命令：%s",
	"Read it, change it, keep it in git and put it into the manifest; generate it anew when the estate has changed.": "请阅读、修改、纳入 git 并写入资产清单；资产变化后重新生成。",
	"Wave %d (%s):": "第 %d 批（%s）：",
	"Where groups are current was not known: each is taken to be at the site of its owner in the manifest.": "各组当前所在站点未知：按资产清单中主库的站点处理。",
	"to %s":                 "至 %s",
	"%s (%s) to %s by hand": "%s（%s）至 %s，人工",
	"; depends on %s":       "；依赖 %s",
	"; for %s":              "；服务于 %s",
	" and %d more":          " 等，另 %d 项",
	"NOT IN THIS PLAN: %s":  "不在本预案中：%s",
	"and %d more":           "另 %d 项",
	"system %s is declared %s, and no member of its groups keeps backups: declare an async member with backup at another site, or restore it by hand": "系统 %s 声明为 %s，其各组没有保存备份的成员：请在另一站点声明带 backup 的 async 成员，或人工恢复",
	"group %s of system %s cannot leave %s: %s":                                                                                       "系统 %[2]s 的组 %[1]s 不能离开 %[3]s：%[4]s",
	"it has no copy at %s; declare one there, or choose another --to":                                                                 "%s 没有其副本；请在该处声明副本，或另选 --to",
	"the copy at %s is async, and mode %s may lose nothing: declare it pinned, or use --mode emergency":                               "%s 的副本为异步，而模式 %s 不得丢失数据：请声明为固定同步，或使用 --mode emergency",
	"module %s is not deployed at %s, so nobody would serve it there; declare a deployment":                                           "模块 %s 未部署在 %s，该处无人提供服务；请声明部署",
	"module %s (%s) of system %s is deployed at %s, and nothing in the manifest says which of them is its home: people bring it back": "系统 %[3]s 的模块 %[1]s（%[2]s）部署在 %[4]s，资产清单未说明归属站点：由人员切回",
	"module %s (%s) of system %s is not deployed at %s: declare a deployment there":                                                   "系统 %[3]s 的模块 %[1]s（%[2]s）未部署在 %[4]s：请在该处声明部署",
	"module %s (%s) of system %s is not deployed at any other site: declare a deployment there":                                       "系统 %[3]s 的模块 %[1]s（%[2]s）未部署在其他站点：请声明部署",
	"group %s of system %s has no copy to take data from beside %s: declare one":                                                      "系统 %[2]s 的组 %[1]s 除 %[3]s 外没有可取数据的副本：请声明副本",
}
