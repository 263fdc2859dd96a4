// Package ringtest holds no code of the product: its tests read every Go file of the tree and keep the rings of design.md §2,
// so that decisions stay pure and workers never know each other.
package ringtest
