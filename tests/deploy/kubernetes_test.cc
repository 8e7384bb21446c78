// What runs in Kubernetes is what the binaries understand, and its parts agree.
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/deploy_files.h"
#include "tests/support/process.h"

namespace dasm {
namespace {

using namespace testing_support;  // NOLINT
using testing::Contains;
using testing::IsSubsetOf;

YAML::Node StatefulSet(const std::string& name) {
  for (const YAML::Node& set : OfKind("StatefulSet")) {
    if (set["metadata"]["name"].as<std::string>() == name) return set;
  }
  ADD_FAILURE() << "no StatefulSet " << name;
  return {};
}

YAML::Node Pod(const YAML::Node& set) {
  return set["spec"]["template"]["spec"];
}

YAML::Node Container(const std::string& name) {
  return Pod(StatefulSet(name))["containers"][0];
}

// The arguments that a pool adds to the worker's, and its resources.
YAML::Node Added(const std::string& pool, const std::string& path) {
  const YAML::Node patches = Documents(
      absl::StrCat("deploy/kubernetes/pools/", pool, "/worker.yaml"))[0];
  YAML::Node values;
  for (const YAML::Node& patch : patches) {
    if (absl::EndsWith(patch["path"].as<std::string>(), path)) {
      values.push_back(patch["value"]);
    }
  }
  EXPECT_GT(values.size(), 0u) << pool << " adds no " << path;
  return values;
}

std::map<std::string, int> Ports(const YAML::Node& container) {
  std::map<std::string, int> ports;
  for (const YAML::Node& port : container["ports"]) {
    ports[port["name"].as<std::string>()] = port["containerPort"].as<int>();
  }
  return ports;
}

YAML::Node Service(const std::string& name) {
  for (const YAML::Node& service : OfKind("Service")) {
    if (service["metadata"]["name"].as<std::string>() == name) return service;
  }
  ADD_FAILURE() << "no Service " << name;
  return {};
}

TEST(Kubernetes, EveryFileIsYaml) {
  const auto files = FilesBelow("deploy/kubernetes", ".yaml");
  EXPECT_GE(files.size(), 14u);
  for (const std::string& file : files) {
    EXPECT_FALSE(Documents(file).empty()) << file;
  }
}

TEST(Kubernetes, BinariesKnowTheirFlags) {
  EXPECT_THAT(FlagNames(Strings(Container("dasm-coordinator")["args"])),
              IsSubsetOf(FlagsOf("dasm-coordinator")));
  const std::set<std::string> worker = FlagsOf("dasm-worker");
  EXPECT_THAT(FlagNames(Strings(Container("dasm-worker")["args"])),
              IsSubsetOf(worker));
  for (const char* pool : {"cpu", "gpu"}) {
    EXPECT_THAT(FlagNames(Strings(Added(pool, "/args/-"))), IsSubsetOf(worker))
        << pool;
  }
}

TEST(Kubernetes, PortsAgree) {
  const auto coordinator = Container("dasm-coordinator");
  const auto arguments = Strings(coordinator["args"]);
  const auto ports = Ports(coordinator);
  EXPECT_EQ(ports.at("grpc"), PortOf(FlagValue(arguments, "--listen")));
  EXPECT_EQ(ports.at("http"), PortOf(FlagValue(arguments, "--http")));
  EXPECT_EQ(Service("dasm-coordinator")["spec"]["ports"][0]["port"].as<int>(),
            ports.at("grpc"));
  EXPECT_EQ(
      Service("dasm-coordinator-http")["spec"]["ports"][0]["port"].as<int>(),
      ports.at("http"));

  const auto worker = Container("dasm-worker");
  const auto of_worker = Strings(worker["args"]);
  EXPECT_EQ(FlagValue(of_worker, "--coordinator"),
            absl::StrCat("dasm-coordinator:", ports.at("grpc")));
  EXPECT_EQ(Ports(worker).at("http"), PortOf(FlagValue(of_worker, "--http")));

  for (const char* name : {"dasm-coordinator", "dasm-worker"}) {
    const YAML::Node annotations =
        StatefulSet(name)["spec"]["template"]["metadata"]["annotations"];
    EXPECT_EQ(annotations["prometheus.io/port"].as<int>(),
              Ports(Container(name)).at("http"))
        << name;
  }
}

TEST(Kubernetes, PoliciesOpenThePortsThatAreListenedOnAndTheRestIsDenied) {
  std::map<std::string, YAML::Node> policies;
  for (const YAML::Node& policy : OfKind("NetworkPolicy")) {
    policies[policy["metadata"]["name"].as<std::string>()] = policy["spec"];
  }
  ASSERT_TRUE(policies.count("dasm-default-deny"));
  EXPECT_EQ(policies["dasm-default-deny"]["podSelector"].size(), 0u);
  EXPECT_FALSE(policies["dasm-default-deny"]["ingress"]);
  // gRPC is for pods of the namespace: a peer without a namespace selector.
  const YAML::Node grpc = policies["dasm-coordinator-grpc"]["ingress"][0];
  EXPECT_EQ(grpc["ports"][0]["port"].as<int>(),
            Ports(Container("dasm-coordinator")).at("grpc"));
  ASSERT_EQ(grpc["from"].size(), 1u);
  EXPECT_TRUE(grpc["from"][0]["podSelector"]);
  EXPECT_FALSE(grpc["from"][0]["namespaceSelector"]);
  // Gangs: workers from workers alone.
  const YAML::Node gangs = policies["dasm-worker-gangs"];
  EXPECT_EQ(YAML::Dump(gangs["podSelector"]),
            YAML::Dump(gangs["ingress"][0]["from"][0]["podSelector"]));
  std::set<int> metrics;
  for (const YAML::Node& port :
       policies["dasm-metrics"]["ingress"][0]["ports"]) {
    metrics.insert(port["port"].as<int>());
  }
  EXPECT_THAT(metrics, testing::UnorderedElementsAre(
                           Ports(Container("dasm-coordinator")).at("http"),
                           Ports(Container("dasm-worker")).at("http")));
}

TEST(Kubernetes, AWorkerMayDrainBeforeItIsKilled) {
  static const std::regex kDeadline(
      "drain_deadline = absl::Seconds\\((\\d+)\\)");
  const std::string agent = Source("worker/agent/agent.h");
  std::smatch found;
  ASSERT_TRUE(std::regex_search(agent, found, kDeadline));
  int drain = 0;
  ASSERT_TRUE(absl::SimpleAtoi(found[1].str(), &drain));
  EXPECT_GE(Pod(StatefulSet("dasm-worker"))["terminationGracePeriodSeconds"]
                .as<int>(),
            drain + 15);
}

TEST(Kubernetes, GangsReachEachOtherAtThePodsAddress) {
  const YAML::Node worker = Container("dasm-worker");
  EXPECT_EQ(FlagValue(Strings(worker["args"]), "--gang-address"), "$(POD_IP)");
  EXPECT_THAT(Strings(worker["args"]), Contains("--insecure"));
  EXPECT_EQ(worker["env"][0]["name"].as<std::string>(), "POD_IP");
  EXPECT_EQ(
      worker["env"][0]["valueFrom"]["fieldRef"]["fieldPath"].as<std::string>(),
      "status.podIP");
}

TEST(Kubernetes, DaemonsAreProbedAndRestricted) {
  for (const char* name : {"dasm-coordinator", "dasm-worker"}) {
    const YAML::Node container = Container(name);
    EXPECT_EQ(container["livenessProbe"]["httpGet"]["path"].as<std::string>(),
              "/livez");
    EXPECT_EQ(container["startupProbe"]["httpGet"]["path"].as<std::string>(),
              "/livez");
    EXPECT_EQ(container["readinessProbe"]["httpGet"]["path"].as<std::string>(),
              "/readyz");
    for (const char* probe :
         {"livenessProbe", "startupProbe", "readinessProbe"}) {
      EXPECT_EQ(container[probe]["httpGet"]["port"].as<std::string>(), "http");
    }
    const YAML::Node pod = Pod(StatefulSet(name));
    EXPECT_TRUE(pod["securityContext"]["runAsNonRoot"].as<bool>());
    EXPECT_EQ(
        pod["securityContext"]["seccompProfile"]["type"].as<std::string>(),
        "RuntimeDefault");
    EXPECT_FALSE(pod["automountServiceAccountToken"].as<bool>());
    const YAML::Node security = container["securityContext"];
    EXPECT_FALSE(security["allowPrivilegeEscalation"].as<bool>());
    EXPECT_TRUE(security["readOnlyRootFilesystem"].as<bool>());
    EXPECT_EQ(Strings(security["capabilities"]["drop"]),
              std::vector<std::string>{"ALL"});
  }
}

TEST(Kubernetes, EveryMountHasItsVolume) {
  for (const char* name : {"dasm-coordinator", "dasm-worker"}) {
    const YAML::Node set = StatefulSet(name);
    std::set<std::string> volumes;
    for (const YAML::Node& volume : Pod(set)["volumes"]) {
      volumes.insert(volume["name"].as<std::string>());
    }
    for (const YAML::Node& claim : set["spec"]["volumeClaimTemplates"]) {
      volumes.insert(claim["metadata"]["name"].as<std::string>());
      // Databases and caches are locked: nobody else mounts them.
      EXPECT_EQ(Strings(claim["spec"]["accessModes"]),
                std::vector<std::string>{"ReadWriteOnce"});
    }
    std::map<std::string, std::string> mounts;
    for (const YAML::Node& mount : Container(name)["volumeMounts"]) {
      mounts[mount["mountPath"].as<std::string>()] =
          mount["name"].as<std::string>();
      EXPECT_THAT(volumes, Contains(mount["name"].as<std::string>()));
    }
    for (const char* path : {"/var/lib/dasm", "/data", "/tmp"}) {
      EXPECT_EQ(mounts.count(path), 1u) << name << path;
    }
  }
}

TEST(Kubernetes, APoolAsksForTheCoresThatItsThreadsUse) {
  for (const char* pool : {"cpu", "gpu"}) {
    const auto arguments = Strings(Added(pool, "/args/-"));
    int slots = 0;
    int threads = 0;
    ASSERT_TRUE(absl::SimpleAtoi(FlagValue(arguments, "--slots"), &slots));
    ASSERT_TRUE(absl::SimpleAtoi(FlagValue(arguments, "--threads"), &threads));
    const YAML::Node resources = Added(pool, "/resources")[0];
    for (const char* bound : {"requests", "limits"}) {
      EXPECT_EQ(resources[bound]["cpu"].as<int>(), slots * threads) << pool;
      EXPECT_TRUE(resources[bound]["memory"]) << pool;
    }
  }
}

TEST(Kubernetes, TheGpuPoolAsksForGpusAndToleratesTheirTaint) {
  const YAML::Node resources = Added("gpu", "/resources")[0];
  EXPECT_EQ(resources["limits"]["nvidia.com/gpu"].as<int>(),
            std::stoi(FlagValue(Strings(Added("gpu", "/args/-")), "--slots")));
  EXPECT_EQ(resources["limits"]["nvidia.com/gpu"].as<int>(),
            resources["requests"]["nvidia.com/gpu"].as<int>());
  EXPECT_EQ(Added("gpu", "/tolerations")[0][0]["key"].as<std::string>(),
            "nvidia.com/gpu");
  EXPECT_TRUE(Added("gpu", "/nodeSelector")[0].IsMap());
}

TEST(Kubernetes, TheWorkersBudgetSelectsTheWorkers) {
  const YAML::Node budget = OfKind("PodDisruptionBudget")[0];
  EXPECT_EQ(YAML::Dump(budget["spec"]["selector"]),
            YAML::Dump(StatefulSet("dasm-worker")["spec"]["selector"]));
}

// kubectl, where it is there, builds what it would apply.
TEST(Kubernetes, OverlaysBuildWhereKubectlIs) {
  const Finished version = RunToEnd({"/bin/sh", "-c", "command -v kubectl"});
  if (version.exit_code != 0) {
    // Without it each overlay's resources must at least exist.
    for (const char* overlay : {"cpu", "gpu"}) {
      const std::string folder =
          absl::StrCat("deploy/kubernetes/overlays/", overlay, "/");
      for (const std::string& resource :
           Strings(Documents(folder + "kustomization.yaml")[0]["resources"])) {
        Source(absl::StrCat(folder, resource, "/kustomization.yaml"));
      }
    }
    return;
  }
  for (const char* overlay : {"cpu", "gpu"}) {
    const Finished built =
        RunToEnd({"/bin/sh", "-c",
                  absl::StrCat("kubectl kustomize ", DASM_SOURCE_DIR,
                               "/deploy/kubernetes/overlays/", overlay)});
    ASSERT_EQ(built.exit_code, 0) << built.err;
    EXPECT_THAT(built.out, testing::HasSubstr(
                               absl::StrCat("name: dasm-worker-", overlay)));
    EXPECT_THAT(built.out, testing::HasSubstr(absl::StrCat(
                               "serviceName: dasm-worker-", overlay)));
  }
}

}  // namespace
}  // namespace dasm
