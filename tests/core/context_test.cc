// SPDX-License-Identifier: Apache-2.0
#include "core/context.h"

#include <gtest/gtest.h>

#include "nextscale/error.h"

namespace nextscale {
namespace {

TEST(ThrowIfCancelled, ThrowsOnceTheFlagIsSet) {
  std::atomic<bool> cancelled = false;
  Context context;
  EXPECT_NO_THROW(throw_if_cancelled(context));
  context.cancelled = &cancelled;
  EXPECT_NO_THROW(throw_if_cancelled(context));
  cancelled = true;
  try {
    throw_if_cancelled(context);
    FAIL() << "was not stopped";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
}

}  // namespace
}  // namespace nextscale
