// Package sim is a deterministic simulator of the ownership protocol: the real decisions of package unit run among models of
// the control store, nodes, agents, PostgreSQL, gateways, applications and clients, in virtual time, from one seed.
//
// The real part is unit.Apply, unit.Next, unit.Watch, unit.Tracker, unit.Promise and unit.Lease, and what else package unit decides
// for agents and nodes. Everything else is a model whose behaviour
// was measured on the real programs; DESIGN.md of package unit says which line of the measurements each model stands for.
//
// A node is cold after every start, and again when its member was without a leader for 30 s, as the product has it (I10): otherwise a
// quorum that comes back after a recovery elsewhere would act on what it knew.
//
// There is one goroutine and no clock: a world is a queue of events. A seed gives the same events, the same facts and the
// same trace hash every time. A check that fails names its invariant (I1 … I17, L for liveness) and ends the run; the seed
// replays it with every line of its trace.
package sim
