// Two machines on one: network namespaces with a cable between them. Needs
// root and iproute2, so tests that use it are registered only where both are
// (tests/system/CMakeLists.txt).
#ifndef DASM_TESTS_SUPPORT_NETWORK_NAMESPACES_H_
#define DASM_TESTS_SUPPORT_NETWORK_NAMESPACES_H_

#include <string>
#include <vector>

#include "tests/support/cluster.h"

namespace dasm::testing_support {

// What runs a command that follows it in the namespace `name`, as the same
// process.
std::vector<std::string> EnterNamespace(const std::string& name);

// Both machines have one address, and reach nothing but each other. Removed
// with its object, which must outlive what runs there.
class TwoMachines {
 public:
  TwoMachines();
  ~TwoMachines();
  TwoMachines(const TwoMachines&) = delete;
  TwoMachines& operator=(const TwoMachines&) = delete;

  // Empty, or what could not be set up.
  const std::string& error() const { return error_; }
  const Place& first() const { return first_; }
  const Place& second() const { return second_; }
  // The cable is pulled or plugged in: packets are lost without a word.
  void SetLink(bool up);

 private:
  void Ip(const std::vector<std::string>& arguments);

  Place first_;
  Place second_;
  std::string error_;
};

}  // namespace dasm::testing_support

#endif  // DASM_TESTS_SUPPORT_NETWORK_NAMESPACES_H_
