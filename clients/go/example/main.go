//go:build example

// Asks digits about the first row of state/rows.csv, and prints the class once the receipt has shown
// that the answer is of this request. It needs grpc-go and the package that docs/how-to/clients.md
// generates; run it in the folder of `make run`.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"sealgate/oip"
	"sealgate/receipt"
)

func main() {
	transport, err := credentials.NewClientTLSFromFile("state/tls/servers.pem", "")
	check(err)
	connection, err := grpc.NewClient("localhost:8443", grpc.WithTransportCredentials(transport))
	check(err)
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	token := strings.TrimSpace(string(read("state/people/client/token.jwt")))
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)

	request, call := question()
	call.Since = time.Now()
	answer, err := oip.NewGRPCInferenceServiceClient(connection).ModelInfer(ctx, request)
	check(err)
	call.Until = time.Now()
	outputs := []receipt.Tensor{}
	for place, output := range answer.Outputs {
		raw := answer.RawOutputContents[place]
		outputs = append(outputs, receipt.Tensor{Name: output.Name, Datatype: output.Datatype, Shape: output.Shape, Raw: raw})
	}
	call.Fields["output"] = receipt.TensorsDigest(outputs...)

	roots := []string{}
	for number := 1; number <= 3; number++ {
		roots = append(roots, string(read(fmt.Sprintf("state/trust/root-%d.pem", number))))
	}
	policy, err := receipt.OpenPolicyChain([][]byte{read("state/trust/policy.json")}, roots, 2, time.Now())
	check(err)
	verified, err := policy.Check([]byte(answer.Parameters["receipt"].GetStringParam()), call)
	check(err)
	fmt.Println("verified: version", verified.Fields["version"], "of", verified.Fields["model"])
}

// question returns a request with a nonce of its own, and what the receipt must say of it.
func question() (*oip.ModelInferRequest, receipt.Call) {
	line, _, _ := strings.Cut(string(read("state/rows.csv")), "\n")
	row := []float32{}
	for _, value := range strings.Split(line, ",") {
		number, err := strconv.ParseFloat(value, 32)
		check(err)
		row = append(row, float32(number))
	}
	var raw bytes.Buffer
	check(binary.Write(&raw, binary.LittleEndian, row))
	random := make([]byte, 16)
	_, err := rand.Read(random)
	check(err)
	nonce, shape := base64.RawURLEncoding.EncodeToString(random), []int64{1, int64(len(row))}
	parameters, err := receipt.ParametersDigest(map[string]any{"receipt": true, "nonce": nonce})
	check(err)
	request := &oip.ModelInferRequest{
		ModelName:        "digits",
		Id:               "example",
		Inputs:           []*oip.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: "FP32", Shape: shape}},
		RawInputContents: [][]byte{raw.Bytes()},
		Parameters: map[string]*oip.InferParameter{
			"receipt": {ParameterChoice: &oip.InferParameter_BoolParam{BoolParam: true}},
			"nonce":   {ParameterChoice: &oip.InferParameter_StringParam{StringParam: nonce}},
		},
	}
	input := receipt.TensorsDigest(receipt.Tensor{Name: "x", Datatype: "FP32", Shape: shape, Raw: raw.Bytes()})
	return request, receipt.Call{Fields: map[string]string{
		"principal": "client", "model": "digits", "alias": "production", "request_id": "example",
		"input": input, "parameters": parameters,
	}}
}

func read(file string) []byte {
	data, err := os.ReadFile(file)
	check(err)
	return data
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
