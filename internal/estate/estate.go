// Package estate holds the nouns of the field that every other package speaks in:
// sites, systems, units, replication groups, members, slots and ownership.
// It imports nothing of the product and decides nothing.
package estate

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// SiteID names a site 站点 (an availability zone or a data centre).
type SiteID string

// SystemID names an information system 信息系统.
type SystemID string

// TenantID names an institution 租户 that has systems of its own on the platform; empty: the platform itself.
type TenantID string

// Whose says in words whose somebody or something is.
func (t TenantID) Whose() string {
	if t == "" {
		return "the platform's own"
	}
	return "of tenant " + string(t)
}

// UnitID names a unit 单元: it owns slots and is current on exactly one deployment.
type UnitID string

// GroupID names a replication group 复制组: one database server and its copies.
type GroupID string

// MemberID names one database directory of a replication group, for example "u1-a".
type MemberID string

// Archetype is the kind of a module (JR/T 0209 ch. 5).
type Archetype string

// The four archetypes of JR/T 0209.
const (
	Flow    Archetype = "flow"    // 流水型
	Account Archetype = "account" // 账户型
	Compute Archetype = "compute" // 计算型
	Query   Archetype = "query"   // 查询型
)

// Criticality says how much hangs on a system or a business function; a closed list.
type Criticality string

// The criticalities. What says none is normal.
const (
	Critical  Criticality = "critical"  // 关键: goes first
	Important Criticality = "important" // 重要
	Normal    Criticality = "normal"    // 一般
)

// Rank orders criticalities: 0 goes first.
func (c Criticality) Rank() int {
	switch c {
	case Critical:
		return 0
	case Important:
		return 1
	case Normal:
	}
	return 2
}

// Stage is how a system is kept ready to go on elsewhere; a closed list.
type Stage string

// The stages, from the slowest recovery to the fastest.
const (
	ColdRestore     Stage = "cold-restore"      // from a backup, with a deployment of the application 冷备
	SameCityStandby Stage = "same-city-standby" // a copy that stands by in the same city 同城主备
	RemoteStandby   Stage = "remote-standby"    // a copy that stands by in another city only 异地主备
	MultiActive     Stage = "multi-active"      // units are current at several sites 多活
)

// ParticipantType is what a participant is to the institution; a closed list.
type ParticipantType string

// The types of participants.
const (
	Headquarters  ParticipantType = "headquarters"   // 总部
	Branch        ParticipantType = "branch"         // 分支机构
	RelatedSystem ParticipantType = "related-system" // 关联系统, by whoever runs it
	ThirdParty    ParticipantType = "third-party"    // 第三方
)

// Duty is what a member of a command group does in a disruption 应急职责; a closed list.
type Duty string

// The duties. A response needs somebody for each.
const (
	Lead          Duty = "lead"          // 总指挥: decides
	Deputy        Duty = "deputy"        // 副总指挥: decides where the lead is not reached
	Technology    Duty = "technology"    // 技术处置: switches and repairs
	Business      Duty = "business"      // 业务处置: holds orders, compares totals
	Communication Duty = "communication" // 对外通报: reports and announces
)

// Duties lists all duties.
func Duties() []Duty { return []Duty{Lead, Deputy, Technology, Business, Communication} }

// Contact is a person or a desk of a participant, with at least one way to reach it. The order of contacts is that in which they are tried.
type Contact struct {
	Name  string `yaml:"name" json:"name"`
	Phone string `yaml:"phone,omitempty" json:"phone,omitempty"`
	Mail  string `yaml:"mail,omitempty" json:"mail,omitempty"`
}

// Relation says how two sites lie to each other.
type Relation string

// The relations between sites.
const (
	SameSite Relation = "same-site"
	SameCity Relation = "same-city" // 同城
	Remote   Relation = "remote"    // 异地
)

// Slot is a hash bucket of the business key, 0 ≤ slot < Slots of the system.
type Slot uint16

// DefaultSlots is the number of slots where a system does not say otherwise.
const DefaultSlots = 1024

// SlotOf hashes a business key with CRC32-IEEE, the polynomial that SQL extensions, Java and zlib share.
// slots must be at least 1.
func SlotOf(key []byte, slots int) Slot {
	return Slot(crc32.ChecksumIEEE(key) % uint32(slots))
}

// Epoch grows with every change of ownership within one incarnation.
type Epoch uint64

// Incarnation is one life of the control store. It changes only when a person confirms a recovery or a restore (I10):
// the counter grows by one and the identity is random, so two recoveries from one origin are told apart.
type Incarnation struct {
	Counter uint64 `json:"counter"`
	ID      string `json:"id"`
}

// Ownership is what the database guard, the gateways and the store compare: incarnation first, then epoch (I1).
type Ownership struct {
	Incarnation Incarnation `json:"incarnation"`
	Epoch       Epoch       `json:"epoch"`
}

// Compare orders two ownerships by incarnation counter, then by epoch.
// Equal counters with different incarnation identities are not ordered: see Conflicts.
func (o Ownership) Compare(other Ownership) int {
	switch {
	case o.Incarnation.After(other.Incarnation):
		return 1
	case other.Incarnation.After(o.Incarnation):
		return -1
	}
	return cmp.Compare(o.Epoch, other.Epoch)
}

// Less reports whether o is older than other.
func (o Ownership) Less(other Ownership) bool { return o.Compare(other) < 0 }

// Conflicts reports whether the two come from different recoveries of the same origin; then both sides close (I10).
func (o Ownership) Conflicts(other Ownership) bool {
	return o.Incarnation.Counter == other.Incarnation.Counter && o.Incarnation.ID != other.Incarnation.ID &&
		o.Incarnation.ID != "" && other.Incarnation.ID != ""
}

// IsZero reports whether nothing was ever owned.
func (o Ownership) IsZero() bool { return o.Incarnation.Counter == 0 && o.Epoch == 0 }

// Next is the ownership after o in the same incarnation.
func (o Ownership) Next() Ownership {
	o.Epoch++
	return o
}

// String writes the form that travels in headers and in the guard: "counter.id.epoch".
func (o Ownership) String() string {
	return strconv.FormatUint(o.Incarnation.Counter, 10) + "." + o.Incarnation.ID + "." + strconv.FormatUint(uint64(o.Epoch), 10)
}

// ParseOwnership reads what String wrote.
func ParseOwnership(s string) (Ownership, error) {
	counter, rest, ok := strings.Cut(s, ".")
	id, epoch, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 {
		return Ownership{}, fmt.Errorf("ownership %q: want counter.id.epoch", s)
	}
	c, err := strconv.ParseUint(counter, 10, 64)
	if err != nil {
		return Ownership{}, fmt.Errorf("ownership %q: counter: %w", s, err)
	}
	e, err := strconv.ParseUint(epoch, 10, 64)
	if err != nil {
		return Ownership{}, fmt.Errorf("ownership %q: epoch: %w", s, err)
	}
	return Ownership{Incarnation: Incarnation{Counter: c, ID: id}, Epoch: Epoch(e)}, nil
}

// LSN is a position in a database's write-ahead log, in bytes.
type LSN uint64

// String writes PostgreSQL's form, for example "0/16B3748".
func (l LSN) String() string {
	return fmt.Sprintf("%X/%X", uint64(l)>>32, uint64(l)&0xffffffff)
}

// ParseLSN reads PostgreSQL's form.
func ParseLSN(s string) (LSN, error) {
	hi, lo, ok := strings.Cut(s, "/")
	if !ok {
		return 0, fmt.Errorf("log position %q: want the form 0/16B3748", s)
	}
	h, err := strconv.ParseUint(hi, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("log position %q: %w", s, err)
	}
	l, err := strconv.ParseUint(lo, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("log position %q: %w", s, err)
	}
	return LSN(h<<32 | l), nil
}

// Life is one start of one member's database: the member and a number that its agent raises before every start.
// Acknowledgements count for a life, never for a member, so a forgotten clone or a restarted copy is somebody else (I2).
type Life struct {
	Member MemberID `json:"member"`
	N      uint64   `json:"life"`
}

// String writes the replication name of the life, for example "u1-a.3".
func (l Life) String() string { return string(l.Member) + "." + strconv.FormatUint(l.N, 10) }

// ParseLife reads what String wrote.
func ParseLife(s string) (Life, error) {
	i := strings.LastIndexByte(s, '.')
	if i < 1 {
		return Life{}, fmt.Errorf("member life %q: want member.number", s)
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 64)
	if err != nil {
		return Life{}, fmt.Errorf("member life %q: %w", s, err)
	}
	return Life{Member: MemberID(s[:i]), N: n}, nil
}
