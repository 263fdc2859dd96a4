// Package plan is the language of plans: what is to be done, in which order, by whom, and what a failure means.
//
// A plan is data, a graph of steps. Everything that acts is a run of a plan: a drill, a takeover, an emergency, a switch-back and the
// other modes of the contract (contract.go). Reading a plan has the same steps as reading a manifest: the tree is held against the
// shape, decoded, and then the steps are held against each other, against the actions there are, and against the contract of the modes
// that the plan is for. What is unknown or contradicts itself is refused with its line and the reason.
//
// Compile makes of a plan and its subplans one flat Program, with every template filled in and every expression compiled. A run is
// pinned to its program: a plan that is edited or deleted meanwhile changes nothing in it.
package plan
