// Command gatewaybench compares the gateway's CPU per request with HAProxy's: the same backend, the same load, rounds in turn.
// It starts a backend, the gateway and HAProxy (where it is installed) as processes of their own, sends the same number of requests
// through each per round, and divides the processor time (user + system) each process took by the requests it forwarded.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"perdure/internal/estate"
	"perdure/internal/gateway"
	"perdure/internal/route"
	"perdure/internal/unit"
)

type options struct {
	rounds, requests, conns int
	rate                    float64
	body                    int
	jsonKey                 bool
	haproxy                 string
	json                    bool
	profile                 string
	threads                 int
}

func main() {
	var o options
	role := flag.String("role", "", "internal: backend or gateway")
	listen := flag.String("listen", "127.0.0.1:0", "internal: address of a role")
	backend := flag.String("backend", "", "internal: address of the backend")
	data := flag.String("data", "", "internal: the gateway's directory")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds per proxy, in turn")
	flag.IntVar(&o.requests, "requests", 60000, "requests per round")
	flag.IntVar(&o.conns, "conns", 32, "client connections")
	flag.Float64Var(&o.rate, "rate", 0, "requests per second, 0: as fast as it goes")
	flag.IntVar(&o.body, "body", 120, "bytes of a request's body")
	flag.BoolVar(&o.jsonKey, "json-key", false, "the routing key is a JSON field of the body instead of a header")
	flag.StringVar(&o.haproxy, "haproxy", "haproxy", "the HAProxy to compare with")
	flag.BoolVar(&o.json, "json", false, "print the result as JSON")
	flag.StringVar(&o.profile, "profile", "", "write the gateway's CPU profile to this file")
	flag.IntVar(&o.threads, "threads", 0, "threads of HAProxy and GOMAXPROCS of the gateway, 0: their defaults")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch *role {
	case "backend":
		err = serveBackend(ctx, *listen)
	case "gateway":
		err = serveGateway(ctx, *listen, *backend, *data, o)
	default:
		err = compare(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gatewaybench:", err)
		os.Exit(1)
	}
}

const stamp = "1.bench.1"

// serveBackend answers every request with a committed transfer.
func serveBackend(ctx context.Context, listen string) error {
	body := []byte(`{"status":"committed","transaction":"8a3f0a5e-7c0e-4c8e-9b57-3a1d2f9c4e11","balance":"1204.50"}`)
	s := &fasthttp.Server{NoDefaultServerHeader: true, Handler: func(ctx *fasthttp.RequestCtx) {
		h := &ctx.Response.Header
		h.Set("Perdure-Ownership", stamp)
		h.Set("Perdure-Outcome", "committed")
		h.Set("Perdure-Receipt", `{"seq":417,"amount":"12.50","accounts":["6222020000000001","6222020087654321"]}`)
		h.SetContentType("application/json")
		ctx.SetBody(body)
	}}
	ended := make(chan error, 1)
	go func() { ended <- s.ListenAndServe(listen) }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}

func serveGateway(ctx context.Context, listen, backend, data string, o options) error {
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer f.Close()
		defer pprof.StopCPUProfile()
	}
	key := route.KeySource{From: route.FromHeader, Name: "X-Account"}
	if o.jsonKey {
		key = route.KeySource{From: route.FromJSON, Name: "from"}
	}
	in := route.Input{
		Version: 1,
		Systems: []route.System{{ID: "bank", Keys: []route.KeySource{key}, Units: []route.Unit{
			{ID: "u1", Slots: []route.SlotRange{{First: 0, Last: 511}}}, {ID: "u2", Slots: []route.SlotRange{{First: 512, Last: 1023}}},
		}}},
		Owners: []route.Owner{{
			Group: "g1", System: "bank", Units: []estate.UnitID{"u1", "u2"}, State: unit.Open, Site: "a",
			Ownership: estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "bench"}, Epoch: 1},
		}},
		Instances: []route.Instance{{ID: "app", System: "bank", Site: "a", Address: backend}},
	}
	g, err := gateway.New(gateway.Options{Name: "a", Site: "a", Listen: listen, Static: &in, Data: data}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return g.Run(ctx)
}

// child is a process that is measured or needed.
type child struct {
	name string
	addr string
	cmd  *exec.Cmd
}

func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		_ = c.cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		_ = c.cmd.Process.Kill()
		<-ended
	}
}

func run(name, addr, program string, args ...string) (*child, error) {
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	c := &child{name, addr, cmd}
	if err := waitFor(addr); err != nil {
		c.stop()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// sample is one round through one proxy.
type sample struct {
	CPU    time.Duration `json:"cpuPerRequest"`
	User   time.Duration `json:"userPerRequest"`
	System time.Duration `json:"systemPerRequest"`
	Rate   float64       `json:"requestsPerSecond"`
}

// result is what is printed.
type result struct {
	Proxy   string        `json:"proxy"`
	Samples []sample      `json:"samples"`
	Median  time.Duration `json:"medianCPUPerRequest"`
	Ratio   float64       `json:"gatewayRatio,omitempty"` // the gateway's median over this one's
}

func compare(ctx context.Context, o options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gatewaybench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ports, err := freePorts(4)
	if err != nil {
		return err
	}
	backend, err := run("backend", ports[0], self, "-role", "backend", "-listen", ports[0])
	if err != nil {
		return err
	}
	defer backend.stop()
	args := []string{"-role", "gateway", "-listen", ports[1], "-backend", ports[0], "-data", filepath.Join(dir, "gateway"), "-profile", o.profile, fmt.Sprintf("-json-key=%v", o.jsonKey)}
	if o.threads > 0 {
		os.Setenv("GOMAXPROCS", fmt.Sprint(o.threads))
	}
	gw, err := run("gateway", ports[1], self, args...)
	if err != nil {
		return err
	}
	defer gw.stop()
	proxies := []*child{gw}
	for i, name := range []string{"haproxy", "haproxy-plain"} {
		hap, err := startHAProxy(name, dir, o, ports[2+i], ports[0])
		if err != nil {
			fmt.Fprintln(os.Stderr, "without a baseline:", err)
			break
		}
		defer hap.stop()
		proxies = append(proxies, hap)
	}
	results, err := rounds(ctx, o, proxies)
	if err != nil {
		return err
	}
	return show(results, o.json)
}

// startHAProxy starts a baseline: "haproxy" sets and removes the headers the gateway does and hashes the key as far as it can,
// "haproxy-plain" only forwards.
func startHAProxy(name, dir string, o options, listen, backend string) (*child, error) {
	path, err := exec.LookPath(o.haproxy)
	if err != nil {
		return nil, errors.New("HAProxy is not installed: apt-get install haproxy")
	}
	threads := ""
	if o.threads > 0 {
		threads = fmt.Sprintf("  nbthread %d\n", o.threads)
	}
	rules := `  http-request deny if !{ req.hdr(X-Account) -m found }
  http-request set-header Perdure-Caller anonymous
  http-request set-header Perdure-Unit u1
  http-request set-header Perdure-Ownership ` + stamp + `
  http-request set-header Perdure-Slot %[req.hdr(X-Account),crc32,mod(1024)]
  http-request set-header Perdure-Routing-Key %[req.hdr(X-Account)]
  http-response del-header Perdure-Receipt
`
	if name == "haproxy-plain" {
		rules = ""
	}
	config := "global\n  maxconn 4096\n" + threads + `defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  http-reuse aggressive
frontend front
  bind ` + listen + `
` + rules + `  default_backend back
backend back
  server app ` + backend + `
`
	file := filepath.Join(dir, name+".cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	return run(name, listen, path, "-db", "-f", file)
}

func rounds(ctx context.Context, o options, proxies []*child) ([]result, error) {
	results := make([]result, len(proxies))
	for i, p := range proxies {
		results[i].Proxy = p.name
		if _, err := load(ctx, p.addr, o, o.requests/5); err != nil { // warm up
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	for round := range o.rounds {
		for k := range proxies {
			i := (k + round) % len(proxies)
			p := proxies[i]
			before, err := cpu(p.cmd.Process.Pid)
			if err != nil {
				return nil, err
			}
			took, err := load(ctx, p.addr, o, o.requests)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			after, err := cpu(p.cmd.Process.Pid)
			if err != nil {
				return nil, err
			}
			spent, n := after.since(before), time.Duration(o.requests)
			results[i].Samples = append(results[i].Samples, sample{
				CPU: (spent.user + spent.system) / n, User: spent.user / n, System: spent.system / n, Rate: float64(o.requests) / took.Seconds(),
			})
		}
	}
	for i := range results {
		results[i].Median = median(results[i].Samples)
	}
	for i := range results[1:] {
		results[1+i].Ratio = float64(results[0].Median) / float64(results[1+i].Median)
	}
	return results, nil
}

func median(s []sample) time.Duration {
	c := make([]time.Duration, len(s))
	for i := range s {
		c[i] = s[i].CPU
	}
	slices.Sort(c)
	return c[len(c)/2]
}

func show(results []result, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(results)
	}
	for _, r := range results {
		each := make([]string, len(r.Samples))
		var rate, user, system float64
		for i, s := range r.Samples {
			each[i] = fmt.Sprintf("%.1f", float64(s.CPU.Nanoseconds())/1000)
			rate += s.Rate / float64(len(r.Samples))
			user += float64(s.User.Nanoseconds()) / 1000 / float64(len(r.Samples))
			system += float64(s.System.Nanoseconds()) / 1000 / float64(len(r.Samples))
		}
		ratio := ""
		if r.Ratio > 0 {
			ratio = fmt.Sprintf("; the gateway takes %.2f × as much", r.Ratio)
		}
		fmt.Printf("%-13s %6.1f µs CPU per request (rounds: %s; mean user %.1f, system %.1f), %.0f requests/s%s\n",
			r.Proxy, float64(r.Median.Nanoseconds())/1000, strings.Join(each, " "), user, system, rate, ratio)
	}
	return nil
}
