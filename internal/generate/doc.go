// Package generate makes recovery plans 灾难恢复计划 from an estate: what goes where, in which order, who is asked and told, as text that
// people read, change and keep in git.
//
// The order comes from what systems depend on and how critical they are: a wave goes together, and the next one waits for it. What people have
// to do with it comes from the contract of the mode (package plan): where a window is applied for they are asked and take part, and an
// emergency waits for nobody's paper. What acts is what drivers can do: a mode whose contract allows no action of theirs has no plan, and
// what they cannot do in one that has stands as a task of a person.
//
// The same estate and the same options give the same bytes.
package generate
