// Package document writes what people hand over about a run: the drill record 演练记录 and the switch report 切换报告, in Chinese and in
// English, as HTML, DOCX and XLSX.
//
// A document is made of a run's program and journal, and of where they stand in the evidence log. The same gives the same bytes: nothing in
// a document is the time of its making, a random number, or a property of the machine. The three formats are written from one Document, so
// that every figure stands in all of them. A section without content is left out.
//
// Whatever came from people or from drivers is text: markup in it is escaped, characters that formats or terminals take for commands are
// made visible, and a cell of a sheet is never a formula.
package document
