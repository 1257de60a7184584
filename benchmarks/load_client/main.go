// The load of the benchmarks: sends prepared requests and checks every answer.
//
// Reads one JSON object from standard input (see Plan). Prints "begin" when the measured time
// begins, "end" when it ends, and then one JSON object (see Found). An answer counts as OK where
// its status is OK and it has exactly the expected number of float32 values, in protobuf or JSON.
//
// Closed loop: in_flight callers, each of which asks again once it is answered. Open loop, where
// rate is given: requests are due at random times (Poisson), whatever became of those before; their
// latency counts from when they were due.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type Plan struct {
	Protocol  string `json:"protocol"`  // "grpc" or "http"
	Address   string `json:"address"`   // host:port
	Path      string `json:"path"`      // of the URL, for http
	Authority string `json:"authority"` // a PEM file; none: no TLS
	Token     string `json:"token"`
	Requests  string `json:"requests"` // a file: uint32 length (little-endian) and bytes, repeated
	Values    int    `json:"values"`   // how many an answer has
	Receipt   bool   `json:"receipt"`  // whether each answer must carry one
	InFlight  int    `json:"in_flight"`
	// So that servers of several processes that share a port all get work.
	Connections int     `json:"connections"`
	Rate        float64 `json:"rate"` // requests a second; 0: closed loop
	Warm        float64 `json:"warm"` // seconds before the measured time
	Seconds     float64 `json:"seconds"`
	Each        bool    `json:"each"` // ask each request once, and say which were answered
}

type Found struct {
	Rate     float64        `json:"rate"` // OK answers a second of the measured time
	OK       int            `json:"ok"`   // in the measured time
	Sent     int            `json:"sent"` // in all, warm-up included
	Answered int            `json:"answered"`
	Failures map[string]int `json:"failures"` // in all
	P50      float64        `json:"p50_ms"`
	P99      float64        `json:"p99_ms"`
	Busy     float64        `json:"client_cpu"` // of this process: CPU-seconds a second
	Distinct int            `json:"distinct"`
	Places   []int          `json:"places,omitempty"` // of the requests answered, for `each`
}

// A target sends one request; nil: the answer was OK.
type target func(caller int, request []byte) error

// Many callers' counts.
type tally struct {
	mutex    sync.Mutex
	failures map[string]int
	times    []float64 // milliseconds, of OK answers in the measured time
	sent     atomic.Int64
	answered atomic.Int64
}

func (t *tally) count(err error, ms float64, measured bool) {
	if err == nil {
		t.answered.Add(1)
		if !measured {
			return
		}
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if err != nil {
		t.failures[err.Error()]++
	} else {
		t.times = append(t.times, ms)
	}
}

func main() {
	// Less of the core for collecting garbage: there is memory enough.
	debug.SetGCPercent(800)
	var plan Plan
	if err := json.NewDecoder(os.Stdin).Decode(&plan); err != nil {
		fail(err)
	}
	requests := read(plan.Requests)
	ask := dial(plan)
	found := Found{Distinct: distinct(requests)}
	counts := &tally{failures: map[string]int{}}
	if plan.Each {
		found.Places = each(ask, requests, plan.InFlight, counts)
	} else {
		load(plan, ask, requests, counts, &found)
	}
	found.Sent, found.Answered = int(counts.sent.Load()), int(counts.answered.Load())
	found.Failures = counts.failures
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		fail(err)
	}
}

func load(plan Plan, ask target, requests [][]byte, counts *tally, found *Found) {
	start := time.Now()
	begin := start.Add(seconds(plan.Warm))
	end := begin.Add(seconds(plan.Seconds))
	var before float64
	marked := make(chan struct{})
	go func() {
		time.Sleep(time.Until(begin))
		before = cpu()
		fmt.Println("begin")
		time.Sleep(time.Until(end))
		fmt.Println("end")
		found.Busy = (cpu() - before) / plan.Seconds
		close(marked)
	}()
	if plan.Rate > 0 {
		open(plan, ask, requests, counts, begin, end)
	} else {
		closed(plan, ask, requests, counts, begin, end)
	}
	<-marked
	slices.Sort(counts.times)
	found.OK = len(counts.times)
	found.Rate = float64(found.OK) / plan.Seconds
	found.P50, found.P99 = percentile(counts.times, 0.50), percentile(counts.times, 0.99)
}

func closed(plan Plan, ask target, requests [][]byte, counts *tally, begin, end time.Time) {
	var callers sync.WaitGroup
	var next atomic.Int64
	for caller := range plan.InFlight {
		callers.Add(1)
		go func() {
			defer callers.Done()
			for {
				sent := time.Now()
				if !sent.Before(end) {
					return
				}
				counts.sent.Add(1)
				err := ask(caller, requests[int(next.Add(1))%len(requests)])
				done := time.Now()
				counts.count(err, ms(done.Sub(sent)), done.After(begin) && done.Before(end))
			}
		}()
	}
	callers.Wait()
}

func open(plan Plan, ask target, requests [][]byte, counts *tally, begin, end time.Time) {
	var callers sync.WaitGroup
	chance := rand.New(rand.NewSource(1))
	due := time.Now()
	for place := 0; due.Before(end); place++ {
		time.Sleep(time.Until(due))
		callers.Add(1)
		go func(due time.Time) {
			defer callers.Done()
			counts.sent.Add(1)
			err := ask(place, requests[place%len(requests)])
			counts.count(err, ms(time.Since(due)), due.After(begin))
		}(due)
		due = due.Add(seconds(chance.ExpFloat64() / plan.Rate))
	}
	callers.Wait()
}

// each asks every request once and returns the places of those answered.
func each(ask target, requests [][]byte, callers int, counts *tally) []int {
	answered := make([]bool, len(requests))
	var waiting sync.WaitGroup
	var next atomic.Int64
	for caller := range callers {
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			for {
				place := int(next.Add(1)) - 1
				if place >= len(requests) {
					return
				}
				counts.sent.Add(1)
				err := ask(caller, requests[place])
				answered[place] = err == nil
				counts.count(err, 0, false)
			}
		}()
	}
	waiting.Wait()
	places := []int{}
	for place, ok := range answered {
		if ok {
			places = append(places, place)
		}
	}
	return places
}

func read(path string) [][]byte {
	data, err := os.ReadFile(path)
	if err != nil {
		fail(err)
	}
	requests := [][]byte{}
	for len(data) > 0 {
		length := binary.LittleEndian.Uint32(data)
		requests = append(requests, data[4:4+length])
		data = data[4+length:]
	}
	return requests
}

func distinct(requests [][]byte) int {
	seen := map[string]bool{}
	for _, request := range requests {
		seen[string(request)] = true
	}
	return len(seen)
}

func percentile(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// cpu is what this process has used, in seconds.
func cpu() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		fail(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}

func seconds(value float64) time.Duration { return time.Duration(value * float64(time.Second)) }

func ms(value time.Duration) float64 { return float64(value) / float64(time.Millisecond) }

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
