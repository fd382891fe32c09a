// Command kubernetes is what a test needs of a cluster, in one binary: an API server, its etcd, and kubectl.
//
//	kubernetes etcd DIRECTORY CLIENT_URL PEER_URL
//	kubernetes apiserver FLAGS...
//	kubernetes kubectl ARGUMENTS...
//
// There is no scheduler, no controller manager and no node: custom resources need none of them.
package main

import (
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	if len(os.Args) < 2 {
		fail("say etcd, apiserver or kubectl")
	}
	part := os.Args[1]
	os.Args = append([]string{part}, os.Args[2:]...)
	switch part {
	case "etcd":
		etcd(os.Args[1:])
	case "apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	default:
		fail("there is no part called " + part)
	}
}

// etcd runs one member that keeps its data in a directory, until it is told to end.
func etcd(arguments []string) {
	if len(arguments) != 3 {
		fail("etcd wants a directory, an address for clients and one for peers")
	}
	client, peer := address(arguments[1]), address(arguments[2])
	config := embed.NewConfig()
	config.Name = "one"
	config.Dir = arguments[0]
	config.LogLevel = "error"
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	// What is kept is thrown away with the test.
	config.UnsafeNoFsync = true
	member, err := embed.StartEtcd(config)
	if err != nil {
		fail(err.Error())
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-end:
		member.Close()
	case err := <-member.Err():
		fail(err.Error())
	}
}

func address(text string) url.URL {
	parsed, err := url.Parse(text)
	if err != nil {
		fail(err.Error())
	}
	return *parsed
}

func fail(reason string) {
	fmt.Fprintln(os.Stderr, "kubernetes: "+reason)
	os.Exit(1)
}
