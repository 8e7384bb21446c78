// What every JobStore must do, as one suite; each file of this folder has the
// cases of one part of it.
//
// To add a back end: write a JobStoreBackend for it (a fresh, empty store each
// time Create is called; Reopen gives a second store on the same data after
// the first is gone), list the files of this folder among the sources of its
// test and instantiate there:
//
//   INSTANTIATE_TEST_SUITE_P(
//       Postgres, JobStoreContract,
//       testing::Values(JobStoreBackendFactory{"database", MakeBackend}), ...);
//
// A back end without durable data returns false from durable(); the cases that
// reopen then check only what comes before.
#ifndef DASM_SERVER_STORE_CONTRACT_JOB_STORE_CONTRACT_H_
#define DASM_SERVER_STORE_CONTRACT_JOB_STORE_CONTRACT_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "gtest/gtest.h"
#include "server/store/job_store.h"

namespace dasm {

class JobStoreBackend {
 public:
  virtual ~JobStoreBackend() = default;
  virtual std::unique_ptr<JobStore> Create() = 0;
  virtual bool durable() const = 0;
  // The store that was destroyed, again.
  virtual std::unique_ptr<JobStore> Reopen() = 0;
};

struct JobStoreBackendFactory {
  std::string name;
  std::function<std::unique_ptr<JobStoreBackend>()> make;

  friend void PrintTo(const JobStoreBackendFactory& factory,
                      std::ostream* out) {
    *out << factory.name;
  }
};

class JobStoreContract : public testing::TestWithParam<JobStoreBackendFactory> {
 protected:
  JobStoreContract()
      : backend_(GetParam().make()), store_(backend_->Create()) {}

  const std::unique_ptr<JobStoreBackend> backend_;
  std::unique_ptr<JobStore> store_;
};

}  // namespace dasm

#endif  // DASM_SERVER_STORE_CONTRACT_JOB_STORE_CONTRACT_H_
