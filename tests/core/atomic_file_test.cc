// SPDX-License-Identifier: Apache-2.0
#include "core/atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>
#include <string>

#include "nextscale/error.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;

class AtomicFileTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) /
              (std::string("atomic_file.") + info->name() + "." + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::string contents(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  size_t num_files() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  static ErrorCode code_of_creating(const fs::path& path) {
    try {
      AtomicFile file(path);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  }

  fs::path folder_;
};

TEST_F(AtomicFileTest, CommittedFileHasExactlyTheWrittenBytes) {
  AtomicFile file(folder_ / "a.bin");
  file.write("one ");
  file.write("two");
  file.commit();
  EXPECT_EQ(contents(folder_ / "a.bin"), "one two");
  EXPECT_EQ(num_files(), 1U);
}

TEST_F(AtomicFileTest, NothingIsVisibleUnderTheNameBeforeCommit) {
  AtomicFile file(folder_ / "a.bin");
  file.write("half");
  EXPECT_FALSE(fs::exists(folder_ / "a.bin"));
}

TEST_F(AtomicFileTest, WithoutCommitTheOlderFileStaysAndNothingIsLeftBehind) {
  std::ofstream(folder_ / "a.bin") << "old";
  {
    AtomicFile file(folder_ / "a.bin");
    file.write("new");
  }
  EXPECT_EQ(contents(folder_ / "a.bin"), "old");
  EXPECT_EQ(num_files(), 1U);
}

TEST_F(AtomicFileTest, TwoWritersOfOneNameDoNotDisturbEachOther) {
  AtomicFile first(folder_ / "a.bin");
  AtomicFile second(folder_ / "a.bin");
  first.write("first");
  second.write("second");
  first.commit();
  second.commit();
  EXPECT_EQ(contents(folder_ / "a.bin"), "second");
  EXPECT_EQ(num_files(), 1U);
}

TEST_F(AtomicFileTest, WritesThroughASymbolicLink) {
  std::ofstream(folder_ / "target") << "old";
  fs::create_symlink("target", folder_ / "link");
  AtomicFile file(folder_ / "link");
  file.write("new");
  file.commit();
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(contents(folder_ / "target"), "new");
}

TEST_F(AtomicFileTest, MissingFolderIsAnIoError) {
  EXPECT_EQ(code_of_creating(folder_ / "missing" / "a.bin"), ErrorCode::kIo);
}

TEST_F(AtomicFileTest, AFolderOrADeviceIsNotReplaced) {
  EXPECT_EQ(code_of_creating(folder_), ErrorCode::kIo);
  EXPECT_EQ(code_of_creating("/dev/null"), ErrorCode::kIo);
}

// The limit on file sizes makes write() fail as a full disk does.
TEST_F(AtomicFileTest, FullDiskIsAnIoErrorAndLeavesNothing) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{1024, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  ErrorCode code = ErrorCode::kInternal;
  try {
    AtomicFile file(folder_ / "a.bin");
    file.write(std::string(4096, 'x'));
  } catch (const Error& error) {
    code = error.code();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(code, ErrorCode::kIo);
  EXPECT_EQ(num_files(), 0U);
}

}  // namespace
}  // namespace nextscale
