package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
)

// Expressions are in CEL. They see these names, and nothing else.
const (
	paramsName = "params" // the parameters of the plan
	stepsName  = "steps"  // by id: outcome, outputs, error, attempts
	factsName  = "facts"  // what drivers found, by target: only in when and until
	resultName = "result" // what the action gave: only in expect, outputs and undo
	runName    = "run"    // id, mode, plan, startedBy
)

// mostCost bounds what one evaluation may do.
const mostCost = 100_000

// compiled is a compiled expression.
type compiled struct {
	text    string
	tree    ast.Expr
	program cel.Program
	refs    []reference
}

// reference is a name that an expression looks at: steps.x is {steps, x}. Whole: it looks at all of them, or at one that it computes.
type reference struct {
	root, name string
	whole      bool
}

var environment = sync.OnceValues(func() (*cel.Env, error) {
	anything := cel.MapType(cel.StringType, cel.DynType)
	return cel.NewEnv(
		cel.Variable(paramsName, anything), cel.Variable(stepsName, anything), cel.Variable(factsName, anything),
		cel.Variable(resultName, anything), cel.Variable(runName, anything),
		cel.HomogeneousAggregateLiterals(), ext.Strings(),
	)
})

// compileExpression reads an expression; an error says where it is wrong.
func compileExpression(text string) (*compiled, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	tree, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("column %d: %s", first.Location.Column()+1, first.Message)
	}
	program, err := env.Program(tree, cel.CostLimit(mostCost), cel.CostTracking(costs{}))
	if err != nil {
		return nil, err
	}
	e := &compiled{text: text, tree: tree.NativeRep().Expr(), program: program}
	collect(e.tree, &e.refs)
	return e, nil
}

// costs makes a list that is put together cost its length. The library makes it without copying, for next to nothing, and counts what
// goes through it only afterwards: thirty doublings in one expression were a list that nobody sees the end of.
type costs struct{}

// CallCost gives the cost of a call; nil: that of the library.
func (costs) CallCost(_, _ string, _ []ref.Val, result ref.Val) *uint64 {
	list, ok := result.(traits.Lister)
	if !ok {
		return nil
	}
	size, ok := list.Size().(types.Int)
	if !ok {
		return nil
	}
	cost := uint64(max(size, 1))
	return &cost
}

// collect notes every steps.x, params.x and so on.
func collect(e ast.Expr, refs *[]reference) {
	named := map[int64]bool{} // roots of which it is said what they are asked for
	note := func(r reference) {
		if !slices.Contains(*refs, r) {
			*refs = append(*refs, r)
		}
	}
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		var root ast.Expr
		var name string
		switch e.Kind() {
		case ast.IdentKind:
			if r := e.AsIdent(); !named[e.ID()] && slices.Contains([]string{paramsName, stepsName, factsName, resultName, runName}, r) {
				note(reference{root: r, whole: true})
			}
			return
		case ast.SelectKind:
			root, name = e.AsSelect().Operand(), e.AsSelect().FieldName()
		case ast.CallKind:
			args := e.AsCall().Args()
			if e.AsCall().FunctionName() != "_[_]" || len(args) != 2 || args[1].Kind() != ast.LiteralKind {
				return
			}
			key, ok := args[1].AsLiteral().Value().(string)
			if !ok {
				return
			}
			root, name = args[0], key
		default:
			return
		}
		if root.Kind() == ast.IdentKind {
			named[root.ID()] = true
			note(reference{root: root.AsIdent(), name: name})
		}
	}))
}

// Scope is what the names of an expression stand for.
type Scope struct {
	Params, Facts, Result, Run map[string]any
	// Step tells of one step: outcome, outputs, error, attempts. It is asked only for those that the expression names.
	Step func(name string) (map[string]any, bool)
}

func (e *compiled) variables(s Scope) map[string]any {
	steps := map[string]any{}
	for _, r := range e.refs {
		if r.root != stepsName || s.Step == nil {
			continue
		}
		if told, ok := s.Step(r.name); ok {
			steps[r.name] = told
		}
	}
	return map[string]any{paramsName: orEmpty(s.Params), stepsName: steps, factsName: orEmpty(s.Facts), resultName: orEmpty(s.Result), runName: orEmpty(s.Run)}
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// value evaluates an expression to what JSON can hold.
func (e *compiled) value(s Scope) (any, error) {
	v, _, err := e.program.Eval(e.variables(s))
	if err != nil {
		return nil, fmt.Errorf("cannot evaluate %s: %w", e.text, err)
	}
	plain, err := plainValue(v)
	if err != nil {
		return nil, fmt.Errorf("cannot evaluate %s: %w", e.text, err)
	}
	return plain, nil
}

// holds evaluates an expression that has to be true or false.
func (e *compiled) holds(s Scope) (bool, error) {
	v, err := e.value(s)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("cannot evaluate %s: it gives %v, neither true nor false", e.text, v)
	}
	return b, nil
}

// mostSize bounds what an expression gives: characters, and one for each value.
const mostSize = 100_000

// largestWhole is up to where JSON keeps whole numbers as they are.
const largestWhole = 1 << 53

// plainValue makes of a value of an expression one that JSON gives back the same. A list may be far longer than what it cost to make it.
func plainValue(v ref.Val) (any, error) {
	p := plainer{left: mostSize}
	return p.plain(v)
}

type plainer struct{ left int }

func (p *plainer) plain(v ref.Val) (any, error) {
	if err := p.spend(1); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case types.Bool:
		return bool(v), nil
	case types.String:
		return string(v), p.spend(len(v))
	case types.Int:
		if v > largestWhole || v < -largestWhole {
			return nil, fmt.Errorf("it gives %d, which cannot be kept exactly: make it text with string()", v)
		}
		return float64(v), nil
	case types.Uint:
		if v > largestWhole {
			return nil, fmt.Errorf("it gives %d, which cannot be kept exactly: make it text with string()", v)
		}
		return float64(v), nil
	case types.Double:
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, fmt.Errorf("it gives %v, which is not a number that can be kept", v)
		}
		return float64(v), nil
	case types.Null:
		return nil, nil
	case traits.Mapper:
		return p.table(v)
	case traits.Lister:
		return p.list(v)
	}
	return nil, fmt.Errorf("it gives a %s, which cannot be kept", v.Type().TypeName())
}

func (p *plainer) spend(n int) error {
	if p.left -= n; p.left < 0 {
		return fmt.Errorf("it gives more than %d characters and values", mostSize)
	}
	return nil
}

func (p *plainer) list(v traits.Lister) (any, error) {
	out := []any{}
	for it := v.Iterator(); it.HasNext() == types.True; {
		item, err := p.plain(it.Next())
		if err != nil {
			return nil, err
		}
		out = append(out, item)
	}
	return out, nil
}

func (p *plainer) table(v traits.Mapper) (any, error) {
	out := map[string]any{}
	for it := v.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, fmt.Errorf("it gives a map with a %s as key, which cannot be kept", key.Type().TypeName())
		}
		if err := p.spend(len(name)); err != nil {
			return nil, err
		}
		item, err := p.plain(v.Get(key))
		if err != nil {
			return nil, err
		}
		out[string(name)] = item
	}
	return out, nil
}

var placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)

// placeholders gives the expressions of a text with ${…} in it.
func placeholders(text string) []string {
	var out []string
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.TrimSpace(m[1]))
	}
	return out
}

// Fill puts values in the place of ${…}, in everything nested in v. A text that is one ${…} and no more becomes the value itself.
func Fill(v any, s Scope) (any, error) {
	switch v := v.(type) {
	case string:
		if m := placeholder.FindStringSubmatchIndex(v); m != nil && m[0] == 0 && m[1] == len(v) {
			return evaluate(v[m[2]:m[3]], s)
		}
		var failed error
		filled := placeholder.ReplaceAllStringFunc(v, func(m string) string {
			value, err := evaluate(m[2:len(m)-1], s)
			if err != nil {
				failed = err
			}
			return words(value)
		})
		return filled, failed
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, item := range v {
			filled, err := Fill(item, s)
			if err != nil {
				return nil, err
			}
			out[name] = filled
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			filled, err := Fill(item, s)
			if err != nil {
				return nil, err
			}
			out[i] = filled
		}
		return out, nil
	}
	return v, nil
}

// FillText is Fill for what has to be text.
func FillText(text string, s Scope) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	v, err := Fill(text, s)
	if err != nil {
		return "", err
	}
	return words(v), nil
}

// Holds evaluates a condition, in which ${…} stand for text: facts["unit/${params.unit}"].
func Holds(text string, s Scope) (bool, error) {
	e, err := condition(text, s)
	if err != nil {
		return false, err
	}
	return e.holds(s)
}

// Targets are the targets of whose facts a condition wants to know.
func Targets(text string, s Scope) ([]string, error) {
	e, err := condition(text, s)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range e.refs {
		if r.root == factsName && !r.whole {
			out = append(out, r.name)
		}
	}
	return out, nil
}

// Evaluate gives the values of expressions by name; nil for none.
func Evaluate(expressions map[string]string, s Scope) (map[string]any, error) {
	if len(expressions) == 0 {
		return nil, nil
	}
	out := make(map[string]any, len(expressions))
	for _, name := range names(expressions) {
		v, err := evaluate(expressions[name], s)
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

// condition puts values into a condition. They stand in texts only (compileCondition sees to that), and every character that might end a
// text or begin something else in it is escaped: a value is never part of the expression.
func condition(text string, s Scope) (*compiled, error) {
	var failed error
	filled := placeholder.ReplaceAllStringFunc(text, func(m string) string {
		v, err := evaluate(m[2:len(m)-1], s)
		if err != nil {
			failed = err
		}
		var b strings.Builder
		for _, c := range words(v) {
			if c < unicode.MaxASCII && (unicode.IsLetter(c) || unicode.IsDigit(c)) {
				b.WriteRune(c)
			} else {
				fmt.Fprintf(&b, `\U%08x`, c)
			}
		}
		return b.String()
	})
	if failed != nil {
		return nil, failed
	}
	return compileExpression(filled)
}

// mark stands for a value while a condition is checked: written as an escape it is itself only within a text that knows escapes.
const mark = '\uE000'

// compileCondition reads a condition with ${…} in it.
func compileCondition(text string) (*compiled, error) {
	wanted := 0
	marked := placeholder.ReplaceAllStringFunc(text, func(string) string {
		wanted++
		return `\uE000`
	})
	e, err := compileExpression(marked)
	if wanted == 0 {
		return e, err
	}
	found := 0
	if err == nil {
		ast.PreOrderVisit(e.tree, ast.NewExprVisitor(func(e ast.Expr) {
			if e.Kind() != ast.LiteralKind {
				return
			}
			if text, ok := e.AsLiteral().Value().(string); ok {
				found += strings.Count(text, string(mark))
			}
		}))
	}
	if found == wanted {
		return e, nil
	}
	if _, plain := compileExpression(placeholder.ReplaceAllString(text, "params.any")); err != nil && plain != nil {
		return nil, plain // it is wrong without what stands in the places too
	}
	return nil, errors.New(`${…} stands for a part of a text here, as in facts["unit/${params.unit}"]; elsewhere write the expression without ${}`)
}

func evaluate(text string, s Scope) (any, error) {
	e, err := compileExpression(strings.TrimSpace(text))
	if err != nil {
		return nil, err
	}
	return e.value(s)
}

// words is a value within a text.
func words(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		if v == float64(int64(v)) {
			return fmt.Sprint(int64(v))
		}
	case []any, map[string]any:
		if text, err := json.Marshal(v); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(v)
}
