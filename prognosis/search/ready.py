def search_space(estimator):
    raise NotImplementedError
