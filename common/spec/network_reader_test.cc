#include "common/spec/network_reader.h"

#include <string>
#include <vector>

#include "common/spec/job_spec_proto.h"
#include "common/spec/spec_for_tests.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

TEST(NetworkReader, NetworksAreNamedByWhatTheyHave) {
  const ExpandedSpec e = Expand(TrajectoryJob(
      "",
      "network: {name: resnet18, norm: batch}\n"
      "evaluation: {networks: [resnet18, convnet, mlp, lenet, alexnet, "
      "vgg11, vgg11-batch, resnet18-instance, resnet18-ap, "
      "resnet18-ap-batch, convnet-batch, convnet-d4]}\n"));
  EXPECT_EQ(e.spec.network.depth, 0);
  EXPECT_EQ(e.spec.network.width, 0);
  EXPECT_FALSE(e.proto.network().has_depth());
  std::vector<std::string> names;
  for (const NetworkSpec& network : e.spec.evaluation.networks) {
    names.push_back(network.ToString());
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{
                "resnet18-batch", "convnet-d3-w128-instance", "mlp", "lenet",
                "alexnet", "vgg11-instance", "vgg11-batch", "resnet18-instance",
                "resnet18-ap-instance", "resnet18-ap-batch",
                "convnet-d3-w128-batch", "convnet-d4-w128-instance"}));
  // Another network than the preset's leaves its depth behind.
  EXPECT_EQ(Expand("preset: mtt/tiny-imagenet/ipc1\n"
                   "network: {name: resnet18}\n")
                .spec.network.ToString(),
            "resnet18-instance");
}

TEST(NetworkReader, NetworksThatDoNotExistOrDoNotDistilAreRefused) {
  ExpectRefused({
      {TrajectoryJob("", "network: {name: resnet81}"), "network.name",
       "did you mean \"resnet18\"?"},
      {TrajectoryJob("", "network: {name: resnet18, depth: 18}"),
       "network.depth", "convnet's alone"},
      {TrajectoryJob("", "network: {name: resnet18, width: 64}"),
       "network.width", "leave it out"},
      {TrajectoryJob("", "network: {name: resnet18, norm: none}"),
       "network.norm", "instance or batch"},
      {TrajectoryJob("", "network: {name: mlp, norm: batch}"), "network.norm",
       "has no norm"},
      {TrajectoryJob("", "network: {name: vgg11}"), "network.name",
       "distil with convnet or resnet18"},
      {TrajectoryJob("", "network: {name: resnet18-ap}"), "network.name",
       "evaluation.networks"},
      {"preset: idc/cifar-10/ipc1\nnetwork: {name: resnet18}", "network.name",
       "distil with convnet"},
      {TrajectoryJob("", "evaluation: {networks: [resnet18-w64]}"),
       "evaluation.networks[0]", "is not a network"},
      {TrajectoryJob("", "evaluation: {networks: [mlp-batch]}"),
       "evaluation.networks[0].norm", "has no norm"},
      {TrajectoryJob("", "evaluation: {networks: [vgg11-none]}"),
       "evaluation.networks[0].norm", "needs a norm"},
      {TrajectoryJob("", "evaluation: {networks: [vgg11, vgg11-instance]}"),
       "evaluation.networks[1]", "listed twice"},
  });
}

}  // namespace
}  // namespace dasm
