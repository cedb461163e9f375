"""Every windowed fact of a bucket of users in one pass over its rows.

``merge_files`` brings the bucket's files into one order, ``compute`` makes a column a fact. Only numpy: rows of one user
lie together in time order, so a window is a pair of row numbers per user, an additive fact a difference of two prefix
sums, and nothing needs a hash table.
"""

from features.kernel.plan import compute
from features.kernel.products import Products
from features.kernel.rows import Rows, merge_files
from features.kernel.sequence import Followed

__all__ = ["Followed", "Products", "Rows", "compute", "merge_files"]
