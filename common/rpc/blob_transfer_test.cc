#include "common/rpc/blob_transfer.h"

#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/fake_file_system.h"
#include "common/base/temporary_directory.h"
#include "common/rpc/endpoint.h"
#include "common/rpc/grpc_status.h"
#include "dasm/v1/artifact.grpc.pb.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr int64_t kMiB = 1 << 20;

// No test waits for a back-off.
const TransferOptions kAtOnce = {.retries = 5, .backoff = absl::ZeroDuration()};

using Writer = grpc::ServerWriter<v1::BlobChunk>;
using Reader = grpc::ServerReader<v1::WriteBlobRequest>;

class ScriptedService final : public v1::ArtifactService::Service {
 public:
  // By the number of the call, from 1.
  std::function<absl::Status(int call, int64_t offset, Writer*)> read;
  std::function<absl::Status(int call, Reader*, v1::WriteBlobResponse*)> write;

  grpc::Status ReadBlob(grpc::ServerContext*,
                        const v1::ReadBlobRequest* request,
                        Writer* writer) override {
    int call;
    {
      absl::MutexLock lock(&mutex_);
      offsets_.push_back(request->offset());
      call = offsets_.size();
    }
    return ToGrpcStatus(read(call, request->offset(), writer));
  }
  grpc::Status WriteBlob(grpc::ServerContext*, Reader* reader,
                         v1::WriteBlobResponse* response) override {
    int call;
    {
      absl::MutexLock lock(&mutex_);
      call = ++writes_;
    }
    return ToGrpcStatus(write(call, reader, response));
  }
  std::vector<int64_t> offsets() {
    absl::MutexLock lock(&mutex_);
    return offsets_;
  }
  int writes() {
    absl::MutexLock lock(&mutex_);
    return writes_;
  }

 private:
  absl::Mutex mutex_;
  std::vector<int64_t> offsets_ ABSL_GUARDED_BY(mutex_);
  int writes_ ABSL_GUARDED_BY(mutex_) = 0;
};

std::string Data(int64_t size) {
  std::string data(size, '\0');
  for (int64_t i = 0; i < size; ++i) data[i] = static_cast<char>(i * i >> 7);
  return data;
}

// Sends [from, to) of `data` in chunks of at most 1 MiB.
void Send(const std::string& data, int64_t from, int64_t to, Writer* writer) {
  for (int64_t at = from; at < to; at += kMiB) {
    v1::BlobChunk chunk;
    chunk.set_offset(at);
    chunk.set_data(data.substr(at, std::min(kMiB, to - at)));
    chunk.set_size_bytes(data.size());
    writer->Write(chunk);
  }
}

class BlobTransfer : public testing::TestWithParam<bool> {
 protected:
  BlobTransfer() {
    int port = 0;
    grpc::ServerBuilder builder;
    ConfigureServer(&builder);
    const std::string address =
        GetParam() ? absl::StrCat("unix:", directory_->path(), "/socket")
                   : "127.0.0.1:0";
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ = v1::ArtifactService::NewStub(
        Connect(GetParam() ? address : absl::StrCat("127.0.0.1:", port)));
  }

  std::string Path(const std::string& name) const {
    return absl::StrCat(directory_->path(), "/files/", name);
  }
  std::vector<std::string> Names() {
    return *fs_.List(absl::StrCat(directory_->path(), "/files"));
  }
  absl::Status Download(const std::string& digest, int mode = 0644) {
    return DownloadBlob(stub_.get(), digest, &fs_, Path("a"), mode, kAtOnce);
  }
  absl::Status Upload(const std::string& data) {
    const absl::Status written = WriteFileAtomically(&fs_, Path("a"), data);
    if (!written.ok()) return written;
    return UploadBlob(stub_.get(), Sha256(data), data.size(), &fs_, Path("a"),
                      kAtOnce);
  }
  void SetUp() override {
    ASSERT_NE(server_, nullptr);
    ASSERT_TRUE(
        fs_.CreateDirectories(absl::StrCat(directory_->path(), "/files")).ok());
  }

  const std::unique_ptr<TemporaryDirectory> directory_ =
      *TemporaryDirectory::Create();
  FakeFileSystem fs_;
  ScriptedService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::ArtifactService::Stub> stub_;
};

TEST_P(BlobTransfer, DownloadsABlob) {
  const std::string data = Data(3 * kMiB + 5);
  service_.read = [&](int, int64_t offset, Writer* writer) {
    Send(data, offset, data.size(), writer);
    return absl::OkStatus();
  };
  const absl::Status status = Download(Sha256(data), 0444);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(*fs_.Read(Path("a")) == data);
  EXPECT_THAT(Names(), ElementsAre("a"));
  struct stat info;
  ASSERT_EQ(stat(Path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0444);
}

TEST_P(BlobTransfer, EmptyBlobNeedsNoChunk) {
  service_.read = [&](int, int64_t, Writer*) { return absl::OkStatus(); };
  ASSERT_TRUE(Download(Sha256("")).ok());
  EXPECT_EQ(*fs_.Read(Path("a")), "");
}

TEST_P(BlobTransfer, BrokenDownloadGoesOnBehindTheLastByte) {
  const std::string data = Data(4 * kMiB);
  service_.read = [&](int call, int64_t offset, Writer* writer) {
    const int64_t end =
        call < 4 ? offset + kMiB : static_cast<int64_t>(data.size());
    Send(data, offset, end, writer);
    if (call == 1) return absl::UnavailableError("going away");
    // The others just end: too early in calls 2 and 3.
    return absl::OkStatus();
  };
  const absl::Status status = Download(Sha256(data));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(*fs_.Read(Path("a")) == data);
  EXPECT_THAT(service_.offsets(), ElementsAre(0, kMiB, 2 * kMiB, 3 * kMiB));
}

TEST_P(BlobTransfer, DownloadEndsAfterItsRetries) {
  const std::string data = Data(kMiB);
  service_.read = [&](int, int64_t offset, Writer* writer) {
    Send(data, offset, offset + 1, writer);
    return absl::UnavailableError("going away");
  };
  EXPECT_EQ(Download(Sha256(data)).code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(service_.offsets(), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_P(BlobTransfer, OtherErrorsEndADownloadAtOnce) {
  service_.read = [&](int, int64_t, Writer*) {
    return WithReason(absl::NotFoundError("no blob"), "NO_BLOB", "digest");
  };
  const absl::Status status = Download(Sha256("abc"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(status), "NO_BLOB");
  EXPECT_THAT(service_.offsets(), SizeIs(1));
}

TEST_P(BlobTransfer, WrongBytesAreDataLossAndLeaveNothing) {
  std::string data = Data(2 * kMiB);
  const std::string digest = Sha256(data);
  data[kMiB + 7] ^= 1;
  service_.read = [&](int, int64_t offset, Writer* writer) {
    Send(data, offset, data.size(), writer);
    return absl::OkStatus();
  };
  EXPECT_EQ(Download(digest).code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_P(BlobTransfer, ChunksThatDoNotFollowAreDataLoss) {
  const std::string data = Data(kMiB);
  const auto download = [&](int64_t offset, int64_t size_bytes) {
    service_.read = [&data, offset, size_bytes](int, int64_t, Writer* writer) {
      Send(data, 0, 10, writer);
      v1::BlobChunk chunk;
      chunk.set_offset(offset);
      chunk.set_data(data.substr(10));
      chunk.set_size_bytes(size_bytes);
      writer->Write(chunk);
      return absl::OkStatus();
    };
    return Download(Sha256(data)).code();
  };
  EXPECT_EQ(download(10, kMiB), absl::StatusCode::kOk);
  EXPECT_EQ(download(11, kMiB), absl::StatusCode::kDataLoss);
  EXPECT_EQ(download(0, kMiB), absl::StatusCode::kDataLoss);
  EXPECT_EQ(download(10, kMiB - 1), absl::StatusCode::kDataLoss);
  EXPECT_EQ(download(10, -1), absl::StatusCode::kDataLoss);
}

TEST_P(BlobTransfer, FullDiskEndsADownload) {
  const std::string data = Data(3 * kMiB);
  // By value: the server may still be sending when the client has given up.
  service_.read = [data](int, int64_t offset, Writer* writer) {
    Send(data, offset, data.size(), writer);
    return absl::OkStatus();
  };
  fs_.SetDiskBytes(kMiB + 1);
  EXPECT_EQ(Download(Sha256(data)).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(service_.offsets(), SizeIs(1));
  EXPECT_THAT(Names(), IsEmpty());
}

// Takes a whole upload and checks its form.
absl::Status Receive(Reader* reader, std::string* data,
                     v1::WriteBlobResponse* response) {
  v1::WriteBlobRequest request;
  std::string digest;
  int64_t size = 0;
  for (bool first = true; reader->Read(&request); first = false) {
    EXPECT_LE(request.data().size(), kMiB);
    EXPECT_EQ(request.digest().empty(), !first);
    if (first) {
      digest = request.digest();
      size = request.size_bytes();
    }
    data->append(request.data());
  }
  if (Sha256(*data) != digest || static_cast<int64_t>(data->size()) != size) {
    return absl::InvalidArgumentError("digest or size do not match");
  }
  response->set_size_bytes(size);
  return absl::OkStatus();
}

TEST_P(BlobTransfer, UploadsABlob) {
  for (const int64_t size : {int64_t{0}, int64_t{3}, 3 * kMiB + 5}) {
    const std::string data = Data(size);
    std::string received;
    service_.write = [&](int, Reader* reader, v1::WriteBlobResponse* response) {
      return Receive(reader, &received, response);
    };
    const absl::Status status = Upload(data);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_TRUE(received == data);
  }
}

TEST_P(BlobTransfer, UploadOfWhatIsThereEndsEarly) {
  const std::string data = Data(8 * kMiB);
  service_.write = [&](int, Reader* reader, v1::WriteBlobResponse* response) {
    v1::WriteBlobRequest request;
    reader->Read(&request);
    response->set_size_bytes(request.size_bytes());
    return absl::OkStatus();
  };
  EXPECT_TRUE(Upload(data).ok());
  service_.write = [&](int, Reader*, v1::WriteBlobResponse*) {
    return absl::AlreadyExistsError("is there");
  };
  EXPECT_TRUE(Upload(data).ok());
}

TEST_P(BlobTransfer, BrokenUploadStartsAgain) {
  const std::string data = Data(4 * kMiB);
  std::string received;
  service_.write = [&](int call, Reader* reader,
                       v1::WriteBlobResponse* response) -> absl::Status {
    if (call < 3) {
      v1::WriteBlobRequest request;
      reader->Read(&request);
      reader->Read(&request);
      return absl::UnavailableError("going away");
    }
    return Receive(reader, &received, response);
  };
  const absl::Status status = Upload(data);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(received == data);
  EXPECT_EQ(service_.writes(), 3);
}

TEST_P(BlobTransfer, RefusedUploadIsNotTriedAgain) {
  service_.write = [&](int, Reader* reader, v1::WriteBlobResponse*) {
    v1::WriteBlobRequest request;
    while (reader->Read(&request)) {
    }
    return absl::ResourceExhaustedError("below the free-space limit");
  };
  EXPECT_EQ(Upload("abc").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(service_.writes(), 1);
}

TEST_P(BlobTransfer, FileThatCannotBeReadIsNotTriedAgain) {
  service_.write = [&](int, Reader* reader, v1::WriteBlobResponse* response) {
    std::string received;
    return Receive(reader, &received, response);
  };
  EXPECT_EQ(
      UploadBlob(stub_.get(), Sha256("abc"), 3, &fs_, Path("missing"), kAtOnce)
          .code(),
      absl::StatusCode::kNotFound);
  fs_.FailReads("/files/a");
  EXPECT_EQ(Upload("abc").code(), absl::StatusCode::kInternal);
}

INSTANTIATE_TEST_SUITE_P(Addresses, BlobTransfer, testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "Unix" : "Port";
                         });

}  // namespace
}  // namespace dasm
