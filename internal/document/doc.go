// Package document writes what people hand over about a run, the drill record 演练记录, the switch report 切换报告, its evaluation 评估报告 and its
// summary 演练总结, and the rectification tracking 整改跟踪表 over several; and what they hand round before one: the recovery plan 灾难恢复计划, the drill plan 演练方案 and the emergency response plan 紧急响应计划. In Chinese and in English, as HTML,
// DOCX and XLSX.
//
// The document of a run is made of its program and journal, and of where they stand in the evidence log; those of a plan and of a response of the
// estate, of who has which role, and of earlier runs. The same gives the same bytes: nothing in a document is the time of its making, a random
// number, or a property of the machine. The three formats are written from one Document, so that every figure stands in all of them. A
// section without content is left out. What a document needs and nobody said is a Finding, and nothing is put in its place.
//
// Whatever came from people or from drivers is text: markup in it is escaped, characters that formats or terminals take for commands are
// made visible, and a cell of a sheet is never a formula.
package document
