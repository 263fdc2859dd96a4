package etcdnode

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"go.uber.org/zap/zapcore"
)

// core writes etcd's log lines to slog. What etcd calls information is detail to a node's reader.
type core struct {
	log *slog.Logger
	// closing: what etcd calls an error while it is stopped, such as a closed listener, is none.
	closing *atomic.Bool
}

func (c *core) level(l zapcore.Level) slog.Level {
	switch {
	case c.closing != nil && c.closing.Load():
		return slog.LevelDebug
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}

// Enabled implements zapcore.LevelEnabler.
func (c *core) Enabled(l zapcore.Level) bool {
	return c.log.Enabled(context.Background(), c.level(l))
}

// With implements zapcore.Core.
func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{log: c.log.With(attributes(fields)...), closing: c.closing}
}

// Check implements zapcore.Core.
func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	c.log.Log(context.Background(), c.level(e.Level), e.Message, attributes(fields)...)
	return nil
}

// Sync implements zapcore.Core.
func (c *core) Sync() error { return nil }

func attributes(fields []zapcore.Field) []any {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(m)
	}
	args := make([]any, 0, len(m.Fields))
	for _, f := range fields {
		if v, ok := m.Fields[f.Key]; ok {
			args = append(args, slog.Any(f.Key, v))
		}
	}
	return args
}

// fatalHook decides what follows etcd's Fatal. While it starts, the caller gets an error. Later, a member that cannot write
// its log must not go on: the process ends, its supervisor restarts it, and databases and gateways go on meanwhile (I8).
type fatalHook struct {
	starting atomic.Bool
}

// OnWrite implements zapcore.CheckWriteHook.
func (h *fatalHook) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	if h.starting.Load() {
		var detail strings.Builder
		detail.WriteString(e.Message)
		for _, f := range fields {
			if err, ok := f.Interface.(error); ok {
				detail.WriteString(": " + err.Error())
			}
		}
		panic(detail.String())
	}
	os.Exit(1)
}
