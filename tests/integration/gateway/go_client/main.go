// A client generated from our proto: it asks over TLS with a token and prints what it saw as JSON.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"sealgate/oip"
)

// encodings remembers how the last answer was compressed.
type encodings struct{ last string }

func (e *encodings) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (e *encodings) HandleRPC(_ context.Context, event stats.RPCStats) {
	if header, ok := event.(*stats.InHeader); ok {
		e.last = header.Compression
	}
}

func (e *encodings) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (e *encodings) HandleConn(context.Context, stats.ConnStats) {}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	endpoint, authority, token := os.Args[1], os.Args[2], os.Args[3]
	pem, err := os.ReadFile(authority)
	must(err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		must(fmt.Errorf("no certificate in %s", authority))
	}
	var rows [][]float32
	must(json.NewDecoder(os.Stdin).Decode(&rows))
	var raw bytes.Buffer
	for _, row := range rows {
		must(binary.Write(&raw, binary.LittleEndian, row))
	}

	seen := &encodings{}
	connection, err := grpc.NewClient(
		endpoint,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots})),
		grpc.WithStatsHandler(seen),
	)
	must(err)
	defer connection.Close()
	client := oip.NewGRPCInferenceServiceClient(connection)
	anonymous, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	known := metadata.AppendToOutgoingContext(anonymous, "authorization", "Bearer "+token)

	live, err := client.ServerLive(anonymous, &oip.ServerLiveRequest{})
	must(err)
	ready, err := client.ServerReady(anonymous, &oip.ServerReadyRequest{})
	must(err)
	model, err := client.ModelReady(known, &oip.ModelReadyRequest{Name: "digits"})
	must(err)
	about, err := client.ModelMetadata(known, &oip.ModelMetadataRequest{Name: "digits"})
	must(err)
	config, err := client.ModelConfig(known, &oip.ModelConfigRequest{Name: "digits"})
	must(err)

	request := &oip.ModelInferRequest{
		ModelName: "digits",
		Id:        "from go",
		Inputs: []*oip.ModelInferRequest_InferInputTensor{
			{Name: "x", Datatype: "FP32", Shape: []int64{int64(len(rows)), int64(len(rows[0]))}},
		},
		RawInputContents: [][]byte{raw.Bytes()},
	}
	answer, err := client.ModelInfer(known, request)
	must(err)
	plain := seen.last
	zipped := metadata.AppendToOutgoingContext(known, "sealgate-answer-encoding", "gzip")
	again, err := client.ModelInfer(zipped, request, grpc.UseCompressor(gzip.Name))
	must(err)
	compressed := seen.last
	_, refused := client.ModelInfer(anonymous, request)
	_, load := client.RepositoryModelLoad(known, &oip.RepositoryModelLoadRequest{ModelName: "digits"})

	must(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"live":         live.Live,
		"ready":        ready.Ready,
		"model_ready":  model.Ready,
		"inputs":       about.Inputs[0].Name,
		"max_batch":    config.Config.MaxBatchSize,
		"id":           answer.Id,
		"version":      answer.ModelVersion,
		"logits":       answer.RawOutputContents[0],
		"logits_again": again.RawOutputContents[0],
		"encodings":    []string{plain, compressed},
		"refused":      status.Code(refused).String(),
		"load":         status.Code(load).String(),
	}))
}
